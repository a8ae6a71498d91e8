"""Visitors who show a certificate (mTLS): real handshakes with a real HAProxy."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumos_agent.schema import Domain
from lumos_agent.served import ServedCertificates
from lumos_agent.traffic import ClientCertificates, Pages, Traffic
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.visitor import origin, request
from tests.authority import Authority
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Site:
    """A shield with TLS whose domains have certificates."""

    def __init__(self, shield: Shield, https: int, ca: Authority) -> None:
        self.shield = shield
        self.https = https
        self.ca = ca
        self.served = ServedCertificates(shield.state)
        self._revision = 0

    async def serve(self, *domains: Domain, without: tuple[str, ...] = ()) -> None:
        """Apply domains; each has a certificate but those `without`."""
        self._revision += 1
        await self.shield.applier.apply(config(self._revision, *domains, allow_shrink=True))
        for one in domains:
            if one.hostname not in without and self.served.read(one.id, one.hostname) is None:
                self.served.path(one.id).write_bytes(self.ca.issue(one.hostname).read_bytes())
                await self.served.install(one.id, one.hostname, self.served.path(one.id).read_bytes())
        clients = {d.id: d.traffic.client_certificates.ca for d in domains if d.traffic.client_certificates}
        await self.served.sync({one.id: one.hostname for one in domains}, clients)

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return what a visitor with this certificate speaks TLS with."""
        made = ssl.create_default_context(cadata=self.ca.pem)
        made.check_hostname = False
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the test's CA is plain
        if certificate is not None:
            made.load_cert_chain(certificate)
        return made

    async def get(self, context: ssl.SSLContext, name: str, host: str = "", *headers: str) -> tuple[int, str]:
        """Return status and body (with the head that the origin saw, in lower case) of a request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.https, ssl=context, server_hostname=name)
        lines = ["GET / HTTP/1.1", f"Host: {host or name}", "Connection: close", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        async with asyncio.timeout(20):
            answer = (await reader.read(-1)).decode()
        writer.close()
        return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    port = free_port()
    shield = Shield(tmp_path / "s", free_port(), https=(f"127.0.0.1:{port}",))
    (tmp_path / "own").mkdir()
    try:
        yield Site(shield, port, Authority(tmp_path / "own", "public CA"))
    finally:
        await shield.stop()
        for opened in shield.haproxy._sockets.values():
            opened.close()


@pytest.fixture
def staff(tmp_path: Path) -> Authority:
    (tmp_path / "staff").mkdir()
    return Authority(tmp_path / "staff", "staff CA")


@pytest.fixture
def others(tmp_path: Path) -> Authority:
    (tmp_path / "others").mkdir()
    return Authority(tmp_path / "others", "staff CA")


def asking(ca: Authority, mode: str = "required", **more: object) -> Traffic:
    return Traffic(client_certificates=ClientCertificates(mode=mode, ca=ca.pem), **more)  # type: ignore[arg-type]


async def test_only_who_shows_a_valid_certificate_gets_in(site: Site, staff: Authority, others: Authority) -> None:
    async with origin() as port:
        await site.serve(domain(1, port=port, traffic=asking(staff)), domain(2, port=port))
        anna = site.context(staff.issue("anna\r\nX-Evil: 1"))
        spoofed = "X-Client-Certificate-Subject: CN=root", "X_Client_Certificate_Status: verified"
        status, seen = await site.get(anna, "d1.example", "", *spoofed)
        assert status == 200
        assert "x-client-certificate-status: verified\r\n" in seen
        assert "x-client-certificate-subject: CN=anna\\0D\\0AX-Evil: 1\r\n" in seen
        assert "x-client-certificate-serial: ABCDEF\r\n" in seen
        assert "x-client-certificate-fingerprint: " in seen
        assert "CN=root" not in seen
        assert "X_Client" not in seen
        for name, certificate in (
            ("none", None),
            ("other CA", others.issue("eve")),
            ("expired", staff.issue("old", days=-1)),
        ):
            status, page = await site.get(site.context(certificate), "d1.example")
            assert (status, "Certificate needed" in page) == (403, True), name
        # Another domain on the same address asks nobody, and believes nobody.
        status, seen = await site.get(site.context(), "d2.example", "", *spoofed)
        assert (status, "client" in seen) == (200, False)
        assert (await request(site.shield.port, "d1.example")).status == 403


async def test_optional_tells_the_origin_how_it_went(site: Site, staff: Authority, others: Authority) -> None:
    async with origin() as port:
        await site.serve(domain(1, port=port, traffic=asking(staff, "optional")))
        cases = ((staff.issue("anna"), "verified"), (others.issue("eve"), "invalid"), (None, "none"))
        for certificate, expected in cases:
            status, seen = await site.get(site.context(certificate), "d1.example", "", "X-Client-Certificate-Status: x")
            assert (status, seen.count("client-certificate-status")) == (200, 1)
            assert f"x-client-certificate-status: {expected}\r\n" in seen
            assert ("x-client-certificate-subject" in seen) == (expected == "verified")


async def test_certificate_for_one_domain_opens_no_other(site: Site, staff: Authority, others: Authority) -> None:
    async with origin() as port:
        await site.serve(domain(1, port=port, traffic=asking(staff)), domain(2, port=port, traffic=asking(others)))
        anna = site.context(staff.issue("anna"))
        assert (await site.get(anna, "d1.example"))[0] == 200
        assert (await site.get(anna, "d2.example"))[0] == 403
        # The connection of one name, used for the other.
        assert (await site.get(anna, "d1.example", "d2.example"))[0] == 421
        # A session of one name, resumed at the other.
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, _status_resumed, anna, site.https, "d1.example", "d2.example") == 403


def _status_resumed(context: ssl.SSLContext, port: int, first: str, second: str) -> int:
    session, status = None, 0
    for name in (first, second):
        plain = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname=name, session=session) as secured:
            secured.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            with secured.makefile("rb") as answer:
                status = int(answer.readline().split()[1])
                answer.read()
            session = secured.session
    return status


async def test_wildcard_vouches_for_no_exact_name(site: Site, staff: Authority, others: Authority) -> None:
    async with origin() as port:
        wild = domain(1, hostname="*.site.example", port=port, traffic=asking(staff))
        exact = domain(2, hostname="a.site.example", port=port, traffic=asking(others))
        anna, eve = site.context(staff.issue("anna")), site.context(others.issue("eve"))
        await site.serve(wild, exact, without=("a.site.example",))
        assert (await site.get(anna, "b.site.example"))[0] == 200
        anna.verify_mode = ssl.CERT_NONE
        assert (await site.get(anna, "a.site.example"))[0] == 403
        await site.serve(wild, exact)
        assert (await site.get(eve, "a.site.example"))[0] == 200
        assert (await site.get(eve, "a.site.example", "b.site.example"))[0] == 421
        assert (await site.get(anna, "a.site.example"))[0] == 403


async def test_ca_changes_without_a_gap_and_without_a_reload(site: Site, staff: Authority, others: Authority) -> None:
    async with origin() as port:
        await site.serve(domain(1, port=port, traffic=asking(staff)))
        anna, eve = site.context(staff.issue("anna")), site.context(others.issue("eve"))
        assert (await site.get(anna, "d1.example"))[0] == 200
        worker = await site.shield.haproxy._worker_pid()
        statuses: list[int] = []
        ended = asyncio.Event()

        async def visit() -> None:
            while not ended.is_set():
                statuses.append((await site.get(anna, "d1.example"))[0])

        visits = asyncio.create_task(visit())
        await site.serve(domain(1, port=port, traffic=asking(others)))
        ended.set()
        await visits
        assert set(statuses) <= {200, 403}, "each handshake found the domain's certificate"
        assert [(await site.get(who, "d1.example"))[0] for who in (anna, eve)] == [403, 200]
        assert await site.shield.haproxy._worker_pid() == worker
        # The disk says the same, and nothing of the old CA is left.
        await site.shield.haproxy.reload(site.shield.applier.running()[0])  # type: ignore[index]
        assert [(await site.get(who, "d1.example"))[0] for who in (anna, eve)] == [403, 200]
        assert len(list(site.shield.state.certificates.glob("client-ca-*"))) == 1
        await site.serve(domain(1, port=port))
        assert (await site.get(site.context(), "d1.example"))[0] == 200
        assert not list(site.shield.state.certificates.glob("client-ca-*"))


async def test_damaged_ca_lets_nobody_in_and_breaks_nothing(site: Site, staff: Authority) -> None:
    async with origin() as port:
        broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        wanted = Traffic(client_certificates=ClientCertificates(ca=broken), pages=Pages(denied="<b>no</b>"))
        await site.serve(domain(1, port=port, traffic=wanted), domain(2, port=port))
        assert await site.get(site.context(staff.issue("anna")), "d1.example") == (403, "<b>no</b>")
        assert (await site.get(site.context(), "d2.example"))[0] == 200
        assert ident(1) in site.shield.state.certificates_list.read_text()
