"""TLS that goes through to the origin: real HAProxy, and an origin with a certificate of its own."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from lumos_agent.counters import parse_stat
from lumos_agent.drivers import cli
from lumos_agent.origins import parse_states
from lumos_agent.schema import digest_of, listings
from lumos_agent.served import ServedCertificates
from lumos_agent.traffic import Health, Passthrough, Timeouts, Traffic
from tests.agent.builders import Shield, config, domain, ident, snapshot
from tests.agent.visitor import get, origin, request
from tests.authority import Authority
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
PASSED, HOST = "d1.example", "d2.example"
THROUGH = Traffic(passthrough=Passthrough())


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


@pytest.fixture
def origins_ca(tmp_path: Path) -> Authority:
    (tmp_path / "origin").mkdir()
    return Authority(tmp_path / "origin", "CA of the origin")


def context_of(ca: Authority, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(ca.issue(name))
    return made


def trusting(ca: Authority) -> ssl.SSLContext:
    """Return what a visitor speaks TLS with who knows this CA."""
    made = ssl.create_default_context(cadata=ca.pem)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the test's CA is plain
    return made


async def asked(port: int, name: str, ca: Authority | None = None, host: str = "", source: str = "127.0.0.1") -> str:
    """Return the whole answer to a visitor by TLS, who checks the certificate if he is told the CA."""
    context = trusting(ca) if ca else ssl.create_default_context()
    if ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name, local_addr=(source, 0)
    )
    writer.write(f"GET / HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        body = await (reader.readexactly(int(length[1])) if length else reader.read(-1))
    writer.close()
    return head + body.decode()


async def is_refused(port: int, source: str = "127.0.0.1") -> bool:
    try:
        await asked(port, PASSED, source=source)
    except (ssl.SSLError, OSError, asyncio.IncompleteReadError):
        return True
    return False


async def test_origin_shows_its_own_certificate_and_others_notice_nothing(
    secured: tuple[Shield, int], origins_ca: Authority
) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, PASSED)) as raw, origin(b"inside") as plain:
        await shield.applier.apply(config(1, domain(1, port=raw, traffic=THROUGH), domain(2, port=plain)))
        answer = await asked(https, PASSED, origins_ca)
        assert "through" in answer
        assert "x-forwarded-for" not in answer.lower(), "nobody looked inside"
        with pytest.raises(ssl.SSLError):
            await asked(https, HOST, origins_ca)
        answer = (await asked(https, HOST)).lower()
        assert "inside" in answer
        assert "x-forwarded-for: 127.0.0.1\r\n" in answer
        assert "x-forwarded-proto: https\r\n" in answer
        # By another name's connection nothing of it is reached, without TLS it is named.
        assert " 421 " in (await asked(https, HOST, host=PASSED)).splitlines()[0]
        redirect = await request(shield.port, PASSED, "/a?b")
        assert (redirect.status, redirect.headers["location"]) == (301, f"https://{PASSED}/a?b")
        assert " 421 " in (await asked(https, "unknown.example")).splitlines()[0]
        shown = parse_stat(await cli.ask(shield.state.worker_socket, ["show stat"]))
        assert shown[ident(1)][1] > 1000, "what the origin sent is counted"


async def test_names_are_found_as_for_requests(secured: tuple[Shield, int], origins_ca: Authority) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, "x.site.example")) as raw, origin(b"in") as plain:
        wild = domain(1, hostname="*.site.example", port=raw, traffic=THROUGH)
        exact = domain(2, hostname="a.site.example", port=plain)
        await shield.applier.apply(config(1, wild, exact))
        assert "through" in await asked(https, "X.site.example")
        assert "through" not in await asked(https, "a.site.example")
        assert "through" not in await asked(https, "b.x.site.example")


async def test_hello_in_pieces_and_no_hello_at_all(secured: tuple[Shield, int], origins_ca: Authority) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, PASSED)) as raw:
        await shield.applier.apply(config(1, domain(1, port=raw, traffic=THROUGH)))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting(origins_ca).wrap_bio(incoming, outgoing, server_hostname=PASSED)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", https)
        hello = outgoing.read()
        for start in range(0, len(hello), 50):
            writer.write(hello[start : start + 50])
            await writer.drain()
            await asyncio.sleep(0.01)
        incoming.write(await reader.read(65_536))
        tls.do_handshake()
        assert tls.getpeercert()["subject"] == ((("commonName", PASSED),),)  # type: ignore[index]
        writer.close()
        assert " 400 " in (await get_plain(https)).splitlines()[0]


async def get_plain(port: int) -> str:
    """Return what somebody gets who speaks HTTP to the TLS port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    writer.close()
    return answer.decode(errors="replace") or "closed 400 "


async def test_origin_hears_the_visitors_address_by_proxy_protocol(
    secured: tuple[Shield, int], origins_ca: Authority
) -> None:
    shield, https = secured
    firsts: list[bytes] = []
    async with tunnel_origin(firsts, context_of(origins_ca, PASSED)) as raw:
        traffic = Traffic(passthrough=Passthrough(), proxy_protocol="v1")
        await shield.applier.apply(config(1, domain(1, port=raw, traffic=traffic)))
        with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
            await asked(https, PASSED)
        assert firsts[0].startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


@asynccontextmanager
async def tunnel_origin(firsts: list[bytes], context: ssl.SSLContext) -> AsyncIterator[int]:
    """Note the first line of each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        firsts.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def test_lists_and_limits_hold_for_connections(secured: tuple[Shield, int], origins_ca: Authority) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, PASSED)) as raw:
        site = domain(1, port=raw, traffic=THROUGH)
        await shield.applier.apply(config(1, site, deny={1: ("127.0.0.2/32",)}))
        assert [await is_refused(https, ip) for ip in ("127.0.0.1", "127.0.0.2")] == [False, True]
        # Lists change without a reload here too.
        done = await shield.applier.apply(config(2, site, deny={1: ("127.0.0.0/8",)}, allow={1: ("127.0.0.2/32",)}))
        assert done.how == "runtime"
        assert [await is_refused(https, ip) for ip in ("127.0.0.1", "127.0.0.2")] == [True, False]
        limited = domain(1, port=raw, traffic=Traffic(passthrough=Passthrough(connections_per_minute=3)))
        await shield.applier.apply(config(3, limited))
        assert [await is_refused(https) for _ in range(5)] == [False] * 3 + [True] * 2
        assert not await is_refused(https, "127.0.0.3")
        limited = domain(1, port=raw, traffic=Traffic(passthrough=Passthrough(connections_max=1)))
        await shield.applier.apply(config(4, limited))
        context = trusting(origins_ca)
        _, held = await asyncio.open_connection("127.0.0.1", https, ssl=context, server_hostname=PASSED)
        assert await is_refused(https)
        held.close()


async def test_origin_is_checked_by_tls_and_the_next_one_takes_over(
    secured: tuple[Shield, int], origins_ca: Authority
) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, PASSED)) as raw:
        site = domain(
            1, port=raw, traffic=Traffic(passthrough=Passthrough(), health=Health(interval_seconds=1, rise=1))
        )
        await shield.applier.apply(config(1, site))
        async with asyncio.timeout(30):
            while True:
                rows = await cli.ask(shield.state.worker_socket, ["show stat -1 4 -1"])
                if [state.state for state in parse_states(rows, 0)] == ["up"]:
                    break
                await asyncio.sleep(0.1)
        assert "through" in await asked(https, PASSED, origins_ca)


async def test_reloads_drop_nobody(secured: tuple[Shield, int], origins_ca: Authority) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, PASSED)) as raw, origin(b"in") as plain:
        await shield.applier.apply(config(1, domain(2, port=plain)))
        served = ServedCertificates(shield.state)
        pem = origins_ca.issue(HOST).read_bytes()
        served.path(ident(2)).write_bytes(pem)
        await served.install(ident(2), HOST, pem)
        await served.sync({ident(2): HOST}, {})
        answers: list[str] = []
        ended, passed = asyncio.Event(), asyncio.Event()

        async def visit(name: str, until: asyncio.Event) -> None:
            while not until.is_set():
                answers.append((await asked(https, name, origins_ca)).splitlines()[0])

        visits = [asyncio.create_task(visit(HOST, ended)) for _ in range(2)]
        for revision in range(2, 12):
            through = Traffic(passthrough=Passthrough(), timeouts=Timeouts(tunnel_seconds=revision))
            await shield.applier.apply(config(revision, domain(1, port=raw, traffic=through), domain(2, port=plain)))
            assert "through" in await asked(https, PASSED, origins_ca)
            if revision == 2:
                visitor = asyncio.create_task(visit(PASSED, passed))
        passed.set()
        await visitor
        for revision in range(12, 18):
            sites = [domain(1, port=raw, traffic=THROUGH)] * (revision % 2)
            await shield.applier.apply(config(revision, *sites, domain(2, port=plain), allow_shrink=True))
            assert ("through" in await asked(https, PASSED)) == bool(sites)
        ended.set()
        await asyncio.gather(*visits)
        assert set(answers) == {"HTTP/1.1 200 OK"}, answers


async def test_account_wide_lists_hold_too(secured: tuple[Shield, int], origins_ca: Authority) -> None:
    shield, https = secured
    async with origin(b"through", tls=context_of(origins_ca, PASSED)) as raw:
        made = snapshot(domain(1, port=raw, traffic=THROUGH))
        made = msgspec.structs.replace(made, lists=tuple(listings("*", (), ("127.0.0.2/32",))))
        data = made.encode()
        message = msgspec.structs.replace(config(1), snapshot=msgspec.Raw(data), digest=digest_of(data))
        await shield.applier.apply(message)
        assert [await is_refused(https, ip) for ip in ("127.0.0.1", "127.0.0.2")] == [False, True]
        assert (await get(shield.port, PASSED))[0] == 301
