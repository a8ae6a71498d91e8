"""HTTP/3: which HAProxy can, and what a visitor gets from one that does."""

import asyncio
import contextlib
import datetime
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lumos_agent.drivers.build import Build, build_of, installed_build, usable_quic
from lumos_agent.errors import AgentError, ApplyError
from lumos_agent.schema import Policy
from lumos_agent.served import ServedCertificates
from lumos_agent.traffic import Traffic
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.test_shield import followed_by
from tests.agent.visitor import origin
from tests.services import free_port

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"


def _why_not() -> str:
    """Return what this machine lacks for HTTP/3, or nothing."""
    if installed_build().quic == "off":
        return f"HAProxy {installed_build().version} of this machine cannot serve QUIC"
    if (curl := shutil.which("curl")) is None or b"HTTP3" not in subprocess.run(
        [curl, "-V"], capture_output=True
    ).stdout:
        return "curl of this machine has no HTTP/3"
    return ""


needs_http3 = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "-")


@pytest.mark.parametrize(
    ("version", "features", "expected"),
    [
        ("2.6.12-1+deb12u4", "+OPENSSL -QUIC", "off"),
        ("2.6.12-1", "+OPENSSL +QUIC", "off"),  # each reload would cut the connections
        ("2.8.5-1ubuntu3", "+OPENSSL +QUIC -QUIC_OPENSSL_COMPAT", "full"),
        ("3.0.11-1+deb13u3", "+OPENSSL +QUIC +QUIC_OPENSSL_COMPAT", "limited"),
        ("3.3-dev5-1a2b3c", "+QUIC", "full"),
    ],
)
def test_build_is_read(version: str, features: str, expected: str) -> None:
    build = build_of(f"HAProxy version {version} 2026/01/01 - https://haproxy.org/\nFeature list : {features}\n")
    assert (build.version, build.quic) == (version.partition("-")[0], expected)


def test_what_is_not_haproxy_is_refused() -> None:
    with pytest.raises(AgentError, match="no version"):
        build_of("command not found")


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_port_that_another_program_has_switches_http3_off(address: str) -> None:
    build, listen = Build("3.0.11", frozenset({"QUIC"})), f"{address}:{free_port()}"
    assert usable_quic(build, (listen,)) == "full"
    with socket.socket(socket.AF_INET6 if "[" in address else socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((address.strip("[]"), int(listen.rpartition(":")[2])))
        assert usable_quic(build, (listen,)) == "off"


class Visited:
    """A shield with a TLS listener, and curl."""

    def __init__(self, shield: Shield, port: int) -> None:
        self.shield = shield
        self.port = port

    async def curl(self, *options: str, path: str = "/", insecure: bool = True) -> str:
        """Return status, HTTP version and everything that came."""
        url, told = f"https://{HOST}:{self.port}{path}", "%{stderr}%{http_code} %{http_version}\\n"
        argv = [
            "curl",
            "-sk",
            "-i",
            "-m",
            "15",
            "-w",
            told,
            "--resolve",
            f"{HOST}:{self.port}:127.0.0.1",
            *options,
            url,
        ]
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        answer, verdict = await process.communicate()
        return (verdict + answer).decode(errors="replace")

    async def http3(self, *options: str, path: str = "/") -> str:
        return await self.curl("--http3-only", *options, path=path)


@pytest.fixture
async def visited() -> AsyncIterator[Visited]:
    with tempfile.TemporaryDirectory(prefix="lq-") as folder:
        port = free_port()
        shield = Shield(Path(folder), free_port(), https=(f"127.0.0.1:{port}",))
        try:
            await shield.applier.repair()
            yield Visited(shield, port)
        finally:
            await shield.stop()


@pytest.mark.integration
@needs_http3
async def test_http3_is_offered_and_served(visited: Visited) -> None:
    async with origin() as port:
        traffic = Traffic(https_redirect=True)
        await visited.shield.applier.apply(config(1, domain(port=port, policy=Policy(level="high"), traffic=traffic)))
        offer = f'alt-svc: h3=":{visited.port}"; ma=86400'
        assert offer in await visited.curl("--http2")
        answer = await visited.http3("-d", "a=b", path="/x?y=z")
        assert answer.startswith("200 3\n")
        assert offer in answer
        assert "hello\nPOST /x?y=z HTTP/1.1\r\nhost: d1.example" in answer
        assert "x-forwarded-for: 127.0.0.1\r\n" in answer.lower()
        assert "x-forwarded-proto: https\r\n" in answer.lower()
        assert (await visited.http3(path="/?q=1'+UNION+SELECT+password+FROM+users--")).startswith("403 3\n")
        plain = await asyncio.to_thread(
            subprocess.run, ["curl", "-si", f"http://127.0.0.1:{visited.shield.port}/"], capture_output=True
        )
        assert b"alt-svc" not in plain.stdout


@pytest.mark.integration
@needs_http3
async def test_reloads_cost_no_request(visited: Visited) -> None:
    async with origin(delay_seconds=1.5) as slow, origin() as port:

        async def apply(revision: int) -> None:
            high = Policy(level="high")
            more = domain(revision + 2, port=port, policy=high)
            done = await visited.shield.applier.apply(config(revision, domain(port=slow), domain(2, port=port), more))
            assert done.how == "reload"

        await apply(1)
        waiting = [asyncio.create_task(visited.http3()) for _ in range(5)]
        await asyncio.sleep(0.5)
        for revision in range(2, 5):
            await apply(revision)
            waiting += [asyncio.create_task(visited.http3()) for _ in range(5)]
        assert [answer.split("\n")[0] for answer in await asyncio.gather(*waiting)] == ["200 3"] * 20


@pytest.mark.integration
@needs_http3
async def test_configuration_that_does_not_start_leaves_http3(
    visited: Visited, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with origin() as port:
        await visited.shield.applier.apply(config(1, domain(port=port)))
        bind = f"\nfrontend clash from base\n    bind 127.0.0.1:{port}\n"
        monkeypatch.setattr("lumos_agent.render.haproxy.site", followed_by(bind))
        monkeypatch.setattr("lumos_agent.drivers.haproxy.READY_SECONDS", 2.0)
        with pytest.raises(ApplyError):
            await visited.shield.applier.apply(config(2, domain(port=port, traffic=Traffic(compression=True))))
        assert [(await visited.http3())[:6] for _ in range(5)] == ["200 3\n"] * 5


@pytest.mark.integration
@needs_http3
async def test_killed_worker_comes_back_with_http3(visited: Visited) -> None:
    async with origin() as port:
        shield = visited.shield
        await shield.applier.apply(config(1, domain(port=port)))
        os.kill(int((await shield.workers.attach()).info["Pid"]), signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(shield.haproxy._master._child.wait), 5)  # type: ignore[union-attr]
        await shield.applier.revive()
        assert (await visited.http3()).startswith("200 3\n")
        assert usable_quic(installed_build(), (f"127.0.0.1:{visited.port}",)) != "off"


@pytest.mark.integration
@needs_http3
async def test_certificate_installed_at_run_time_serves_http3(visited: Visited) -> None:
    async with origin() as port:
        shield = visited.shield
        await shield.applier.apply(config(1, domain(port=port)))
        served = ServedCertificates(shield.state)
        for _ in range(2):  # new, then renewed
            pem = _certificate(HOST)
            await served.install(ident(1), HOST, pem)
            await served.sync({ident(1): HOST}, {})
            (shield.state.root / "ca.pem").write_bytes(pem)
            answer = await visited.curl("--http3-only", "--cacert", str(shield.state.root / "ca.pem"), insecure=False)
            assert answer.startswith("200 3\n"), answer


def _certificate(hostname: str) -> bytes:
    """Return a self-signed certificate with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private
