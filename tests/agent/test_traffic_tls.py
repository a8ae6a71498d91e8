"""Traffic settings that concern TLS, balancing and who the visitor is: real HAProxy, real origins."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lumos_agent.schema import Origin
from lumos_agent.traffic import Hsts, Traffic
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.visitor import Gate, get, origin, request
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"


class Ca:
    """A CA that this machine's HAProxy trusts, and certificates of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.trusted = folder / "ca.pem"
        own = self._signed(self.key.public_key(), self.name, x509.BasicConstraints(ca=True, path_length=None))
        self.trusted.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def _signed(self, key: ec.EllipticCurvePublicKey, name: x509.Name, *extra: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=9))
        for extension in extra:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def context(self, name: str) -> ssl.SSLContext:
        """Return what a server called `name` speaks TLS with."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        path = self.folder / f"{name}.pem"
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = self._signed(key.public_key(), subject, names).public_bytes(serialization.Encoding.PEM)
        path.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, *form))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(path)
        return made


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ca:
    made = Ca(tmp_path)
    monkeypatch.setenv("LUMOS_ORIGIN_CA", str(made.trusted))
    return made


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[tuple[Shield, int]]:
    """A shield with a TLS listener, and its port."""
    port = free_port()
    shield = Shield(tmp_path / "s", free_port(), https=(f"127.0.0.1:{port}",))
    try:
        yield shield, port
    finally:
        await shield.stop()
        for opened in shield.haproxy._sockets.values():
            opened.close()


def to_origin(port: int, tls: str) -> tuple[Origin, ...]:
    return (Origin(id=ident(1001), address="127.0.0.1", port=port, tls=tls),)  # type: ignore[arg-type]


async def test_origin_is_spoken_to_by_tls_and_its_certificate_checked_when_asked(
    ca: Ca, secured: tuple[Shield, int]
) -> None:
    shield, _ = secured
    async with origin(tls=ca.context("inner.example")) as good, origin(tls=ca.context("other.example")) as wrong:
        cases = [
            (good, "on", Traffic(), 200),
            (wrong, "on", Traffic(), 200),
            (good, "verify", Traffic(origin_sni="inner.example"), 200),
            (good, "verify", Traffic(origin_host="inner.example"), 200),
            (wrong, "verify", Traffic(origin_sni="inner.example"), 503),
            (good, "off", Traffic(), 502),
        ]
        for revision, (port, tls, traffic, expected) in enumerate(cases, start=1):
            site = domain(origins=to_origin(port, tls), traffic=traffic)
            await shield.applier.apply(config(revision, site))
            assert (await get(shield.port, HOST))[0] == expected, (tls, traffic)


async def test_origin_is_told_the_name_that_it_is_asked_for(ca: Ca, secured: tuple[Shield, int]) -> None:
    shield, _ = secured
    asked: list[str] = []
    context = ca.context("inner.example")
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with origin(tls=context) as port:
        await shield.applier.apply(config(1, domain(origins=to_origin(port, "on"))))
        await get(shield.port, HOST)
        traffic = Traffic(origin_sni="inner.example")
        await shield.applier.apply(config(2, domain(origins=to_origin(port, "on"), traffic=traffic)))
        await get(shield.port, HOST)
    assert asked == [HOST, "inner.example"]


async def tls_head(port: int, path: str = "/") -> str:
    """Return the head of the answer to a visitor who comes by TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.decode("latin-1")


async def test_hsts_is_promised_on_secure_connections_alone(secured: tuple[Shield, int]) -> None:
    shield, https = secured
    async with origin() as port:
        hsts = Hsts(seconds=600, subdomains=True, preload=True)
        await shield.applier.apply(config(1, domain(port=port, traffic=Traffic(hsts=hsts))))
        assert "strict-transport-security: max-age=600; includeSubDomains; preload\r\n" in (
            await tls_head(https)
        ).lower().replace("includesubdomains", "includeSubDomains")
        assert "strict-transport-security" not in (await request(shield.port, HOST)).headers


async def test_https_redirect_spares_who_is_secure_already(secured: tuple[Shield, int]) -> None:
    shield, https = secured
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, traffic=Traffic(https_redirect=True))))
        answer = await request(shield.port, HOST, "/a?b=c")
        assert (answer.status, answer.headers["location"]) == (301, f"https://{HOST}/a?b=c")
        assert " 200 " in (await tls_head(https)).splitlines()[0]


async def test_busy_origin_gets_less_with_leastconn(shield: Shield) -> None:
    gate = Gate()
    async with origin(b"busy", gate=gate) as busy, origin(b"free") as free:
        origins = tuple(
            Origin(id=ident(1001 + number), address="127.0.0.1", port=port) for number, port in enumerate((busy, free))
        )
        await shield.applier.apply(config(1, domain(origins=origins, traffic=Traffic(balance="leastconn"))))
        held = []
        while not gate.reached.is_set():
            held.append(asyncio.create_task(request(shield.port, HOST)))
            await asyncio.wait((held[-1], asyncio.create_task(gate.reached.wait())), return_when="FIRST_COMPLETED")
        answers = [(await request(shield.port, HOST)).text.partition("\n")[0] for _ in range(10)]
        gate.opened.set()
        await asyncio.gather(*held)
        assert answers == ["free"] * 10


async def test_visitor_stays_with_his_origin_by_source(shield: Shield) -> None:
    async with origin(b"a") as first, origin(b"b") as second:
        origins = tuple(
            Origin(id=ident(1001 + number), address="127.0.0.1", port=port)
            for number, port in enumerate((first, second))
        )
        traffic = Traffic(balance="source", trusted_proxies=("127.0.0.0/8",))
        await shield.applier.apply(config(1, domain(origins=origins, traffic=traffic)))
        seen: dict[str, set[str]] = {}
        for number in range(40):
            client = f"198.51.100.{number % 10}"
            answer = await request(shield.port, HOST, "/", f"X-Forwarded-For: {client}")
            seen.setdefault(client, set()).add(answer.text.partition("\n")[0])
        assert all(len(origins_of_one) == 1 for origins_of_one in seen.values())
        assert set.union(*seen.values()) == {"a", "b"}


async def test_load_balancer_in_front_tells_the_visitors_address(tmp_path: Path) -> None:
    """PROXY protocol (version 1 here) is taken from the networks that the shield was enrolled with, and demanded."""
    shield = Shield(tmp_path / "s", free_port())
    settings = msgspec.structs.replace(shield.state.settings(), proxy_protocol_from=("127.0.0.2/32",))
    shield.state.save_settings(settings)
    shield = Shield(tmp_path / "s")
    try:
        async with origin() as port:
            await shield.applier.apply(config(1, domain(port=port), deny={1: ("203.0.113.9/32",)}))
            assert "x-real-ip: 127.0.0.1" in (await get(shield.port, HOST))[1].lower()
            line = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 80\r\n"
            assert b"x-real-ip: 198.51.100.7" in (await through(shield.port, line)).lower()
            assert b" 403 " in (await through(shield.port, line.replace(b"198.51.100.7", b"203.0.113.9")))[:20]
            assert b"x-real-ip" not in (await through(shield.port, b"")).lower()
    finally:
        await shield.stop()
        for opened in shield.haproxy._sockets.values():
            opened.close()


GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


async def through(port: int, first: bytes, head: bytes = GET) -> bytes:
    """Return what comes back to a balancer at 127.0.0.2 that begins with `first`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    writer.write(first + head)
    try:
        async with asyncio.timeout(10):
            return await reader.read(-1)
    except ConnectionError:
        return b""
    finally:
        writer.close()
