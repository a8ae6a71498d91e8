"""Every traffic setting as a visitor sees it: real HAProxy, real origins."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lumos_agent.schema import Origin
from lumos_agent.traffic import HeaderRule, Health, Hsts, Pages, Redirect, Route, Target, Timeouts, Traffic
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.visitor import Answer, get, origin, request

# A shield keeps its sockets open until its process ends; here many shields share one process.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with origin() as number:
        yield number


async def served(shield: Shield, port: int, traffic: Traffic, **changes: Any) -> Shield:
    """Put one domain with these settings into service."""
    lists = {name: changes.pop(name) for name in ("deny", "allow") if name in changes}
    await shield.applier.apply(config(1, domain(port=port, traffic=traffic, **changes), **lists))
    return shield


async def asked(shield: Shield, path: str = "/", *headers: str, host: str = HOST, body: bytes = b"") -> Answer:
    return await request(shield.port, host, path, *headers, body=body)


async def test_headers_are_set_added_and_removed(shield: Shield, port: int) -> None:
    value = 'it\'s 100% "quoted" \\ $HOME %[src] #x'
    rules = (
        HeaderRule(on="request", action="set", name="X-Site", value=value),
        HeaderRule(on="request", action="remove", name="Cookie"),
        HeaderRule(on="response", action="add", name="X-Served", value=value),
        HeaderRule(on="response", action="remove", name="Content-Type"),
    )
    answer = await asked(await served(shield, port, Traffic(headers=rules)), "/", "Cookie: a=b")
    assert f"x-site: {value}\r\n" in answer.text
    assert "a=b" not in answer.text
    assert answer.headers["x-served"] == value
    assert "content-type" not in answer.headers


async def test_routes_lead_to_other_origins(shield: Shield, port: int) -> None:
    async with origin(b"api") as api, origin(b"api v2") as newer:
        routes = tuple(
            Route(path=path, origins=(Target(address="127.0.0.1", port=number),))
            for path, number in (("/api", api), ("/api/v2/", newer))
        )
        await served(shield, port, Traffic(routes=routes))
        expected = {"/": "hello", "/api": "api\n", "/api/": "api\n", "/apix": "hello", "/api/v2": "api v2"}
        expected |= {"/api/v2/x?y": "api v2", "/api/v1": "api\n", "/x/api": "hello"}
        for path, text in expected.items():
            assert (await asked(shield, path)).text.startswith(text), path
        await shield.workers.attach()
        await shield.workers.read()
        counts = shield.workers.current.counts  # type: ignore[union-attr]
        assert counts[ident(1)][4] == len(expected)


async def test_redirects(shield: Shield, port: int) -> None:
    redirects = (
        Redirect(path="/old", to="https://new.example/100%25?a=b&c=%5B", status=301),
        Redirect(path="/blog", to="/news", status=308, exact=False),
    )
    await served(shield, port, Traffic(redirects=redirects))
    answer = await asked(shield, "/old?x")
    assert (answer.status, answer.headers["location"]) == (301, "https://new.example/100%25?a=b&c=%5B")
    answer = await asked(shield, "/blog/2026/x?page=2")
    assert (answer.status, answer.headers["location"]) == (308, "/news/2026/x?page=2")
    assert (await asked(shield, "/blog")).headers["location"] == "/news"
    assert (await asked(shield, "/blogger")).status == 200
    assert (await asked(shield, "/old/x")).status == 200


async def test_https_redirect(shield: Shield, port: int) -> None:
    answer = await asked(await served(shield, port, Traffic(https_redirect=True, hsts=Hsts(subdomains=True))), "/a?b")
    assert (answer.status, answer.headers["location"]) == (301, f"https://{HOST}/a?b")
    assert "strict-transport-security" not in answer.headers


async def test_body_limit(shield: Shield, port: int) -> None:
    await served(shield, port, Traffic(body_bytes_max=10))
    assert (await asked(shield, "/", body=b"0123456789")).status == 200
    assert (await asked(shield, "/", body=b"0123456789a")).status == 413
    chunked = await asked(shield, "/", "Transfer-Encoding: chunked")
    assert (chunked.status, "Content-Length" in chunked.text) == (411, True)


async def test_websockets_can_be_switched_off(shield: Shield, port: int) -> None:
    await served(shield, port, Traffic(websockets=False))
    assert (await asked(shield, "/", *UPGRADE)).status == 403
    await shield.applier.apply(config(2, domain(port=port)))
    assert (await asked(shield, "/", *UPGRADE)).status != 403


async def test_compression(shield: Shield, port: int) -> None:
    await served(shield, port, Traffic(compression=True))
    answer = await asked(shield, "/", "Accept-Encoding: gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.unchunked()).startswith(b"hello")
    assert "content-encoding" not in (await asked(shield)).headers


async def test_cache_serves_again_and_a_purge_empties_it(shield: Shield) -> None:
    async with origin(b"v1", headers=("Cache-Control: max-age=60",)) as port:
        await served(shield, port, Traffic(cache=True))
        first = await asked(shield, "/c", "X-Number: 1")
        assert (await asked(shield, "/c", "X-Number: 2")).text == first.text
        await shield.applier.apply(config(2, domain(port=port, traffic=Traffic(cache=True, cache_purges=1))))
        assert "x-number: 3" in (await asked(shield, "/c", "X-Number: 3")).text


async def test_sticky_cookie_keeps_the_origin(shield: Shield) -> None:
    async with origin(b"one") as one, origin(b"two") as two:
        origins = tuple(Origin(id=ident(n), address="127.0.0.1", port=p) for n, p in ((11, one), (12, two)))
        await served(shield, 0, Traffic(sticky_cookie="LB"), origins=origins)
        first = await asked(shield)
        cookie = first.headers["set-cookie"].partition(";")[0]
        assert "HttpOnly" in first.headers["set-cookie"]
        same = [await asked(shield, "/", f"Cookie: {cookie}") for _ in range(6)]
        assert {answer.text[:3] for answer in same} == {first.text[:3]}
        assert {(await asked(shield)).text[:3] for _ in range(6)} == {"one", "two"}


async def test_weight_drain_and_maintenance_of_an_origin_need_no_reload(shield: Shield) -> None:
    async with origin(b"one") as one, origin(b"two") as two:

        def pair(weight: int, *, enabled: bool = True) -> tuple[Origin, ...]:
            first = Origin(id=ident(11), address="127.0.0.1", port=one, weight=weight, enabled=enabled)
            return first, Origin(id=ident(12), address="127.0.0.1", port=two)

        async def seen() -> set[str]:
            return {(await asked(shield)).text[:3] for _ in range(8)}

        await served(shield, 0, Traffic(), origins=pair(100))
        assert await seen() == {"one", "two"}
        steps = [(pair(0), {"two"}), (pair(100), {"one", "two"}), (pair(100, enabled=False), {"two"})]
        for revision, (origins, expected) in enumerate(steps, start=2):
            done = await shield.applier.apply(config(revision, domain(origins=origins)))
            assert (done.how, await seen()) == ("runtime", expected)
        await shield.haproxy.reload(shield.applier.running()[0])  # type: ignore[index]
        assert await seen() == {"two"}
        later = domain(origins=pair(100), traffic=Traffic(compression=True))
        assert (await shield.applier.apply(config(9, later))).how == "reload"
        assert await seen() == {"one", "two"}


async def test_backup_and_health_check(shield: Shield, port: int) -> None:
    async with origin(b"spare") as spare:
        origins = (
            Origin(id=ident(11), address="127.0.0.1", port=port),
            Origin(id=ident(12), address="127.0.0.1", port=spare, backup=True),
        )
        good = Health(path="/up?x=1", status="200", interval_seconds=1, rise=1, fall=1)
        await served(shield, 0, Traffic(health=good), origins=origins)
        assert (await asked(shield)).text.startswith("hello")
        bad = Health(path="/up", status="204", interval_seconds=1, rise=1, fall=1)
        await shield.applier.apply(config(2, domain(origins=origins, traffic=Traffic(health=bad))))
        async with asyncio.timeout(15):
            while (await asked(shield)).status != 503:
                await asyncio.sleep(0.1)
        await shield.applier.apply(config(3, domain(origins=origins)))  # nothing would bring it back up
        assert (await asked(shield)).text.startswith("hello")


async def test_proxy_protocol_host_and_sni(shield: Shield) -> None:
    async with origin(proxy_protocol=True) as port:
        await served(shield, port, Traffic(proxy_protocol="v1", origin_host="inner.example"))
        answer = await asked(shield)
        assert "PROXY TCP4 127.0.0.1 127.0.0.1" in answer.text
        assert "host: inner.example" in answer.text.lower()


async def test_trusted_proxy_gives_the_visitors_address(shield: Shield, port: int) -> None:
    settings = Traffic(trusted_proxies=("127.0.0.0/8",))
    await served(shield, port, settings, deny={1: ("198.51.100.0/24",)})
    answer = await asked(shield, "/", "X-Forwarded-For: 6.6.6.6, 203.0.113.9")
    assert "x-forwarded-for: 203.0.113.9\r\n" in answer.text
    assert (await asked(shield, "/", "X-Forwarded-For: 203.0.113.9, 198.51.100.7")).status == 403
    reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
    for client, status in (("198.51.100.7", b"403"), ("203.0.113.9", b"200"), ("198.51.100.8", b"403")):
        writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {client}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        assert head.split()[1] == status
    writer.close()
    await shield.applier.apply(config(2, domain(port=port)))
    assert "203.0.113.9" not in (await asked(shield, "/", "X-Forwarded-For: 203.0.113.9")).text


async def test_only_trusted_proxies(shield: Shield, port: int) -> None:
    await served(shield, port, Traffic(trusted_proxies=("10.0.0.0/8",), only_trusted_proxies=True))
    assert (await asked(shield)).status == 403


async def test_maintenance_with_an_allow_list(shield: Shield, port: int) -> None:
    await served(shield, port, Traffic(maintenance=True))
    answer = await asked(shield)
    assert (answer.status, answer.headers["retry-after"], "Back soon" in answer.text) == (503, "300", True)
    allowed = Traffic(maintenance=True, maintenance_allow=("127.0.0.1/32", "2001:db8::/32"))
    await shield.applier.apply(config(2, domain(port=port, traffic=allowed)))
    assert (await asked(shield)).status == 200


async def test_pages_of_ones_own(shield: Shield, port: int) -> None:
    pages = Pages(denied="<p>No! 100% %[env(HOME)] '{request_id}'", unavailable="<p>Gone {request_id}")
    await served(shield, 9, Traffic(pages=pages, websockets=False))
    denied = await asked(shield, "/", *UPGRADE)
    assert denied.status == 403
    assert denied.text.startswith("<p>No! 100% %[env(HOME)] '")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9]{13}-[0-9]+", denied.text.split("'")[1])
    assert (await asked(shield)).text.startswith("<p>Gone ")


async def test_wildcard_and_catch_all(shield: Shield, port: int) -> None:
    async with origin(b"wild") as wild, origin(b"rest") as rest:
        domains = (
            domain(1, hostname="www.site.example", port=port),
            domain(2, hostname="*.site.example", port=wild),
            domain(3, hostname="*", port=rest),
        )
        await shield.applier.apply(config(1, *domains))
        expected = {"www.site.example": "hello", "x.site.example": "wild", "X.Site.Example:80": "wild"}
        expected |= {"a.b.site.example": "rest", "site.example": "rest", "other.org": "rest"}
        for host, text in expected.items():
            assert (await asked(shield, host=host)).text.startswith(text), host
        assert (await asked(shield, host="")).status == 421


async def test_slow_origin_ends_with_our_page(shield: Shield) -> None:
    async with origin(delay_seconds=5) as port:
        await served(shield, port, Traffic(timeouts=Timeouts(server_seconds=1)))
        assert (await get(shield.port, HOST))[0] == 504


async def test_rules_on_the_visitors_address_win(shield: Shield, port: int) -> None:
    steps: list[tuple[Any, str, list[str]]] = [
        ("set", "hidden", ["hidden"]),
        ("remove", "", []),
        ("add", "more", ["more", "127.0.0.1"]),
    ]
    for revision, (action, value, expected) in enumerate(steps, start=1):
        rule = HeaderRule(on="request", action=action, name="X-Forwarded-For", value=value)
        await shield.applier.apply(config(revision, domain(port=port, traffic=Traffic(headers=(rule,)))))
        lines = (await asked(shield)).text.lower().split("\r\n")
        assert [line.partition(": ")[2] for line in lines if line.startswith("x-forwarded-for:")] == expected
