"""Rate rules with a real HAProxy: windows, keys, conditions, answers, reloads, floods."""

import asyncio
from typing import Any

import pytest

from lumos_agent.drivers import cli
from lumos_agent.guard import Guard, RateRule
from lumos_agent.schema import Policy
from lumos_agent.traffic import Traffic
from tests.agent.builders import Shield, config, domain
from tests.agent.visitor import Answer, origin, request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROXIED = Traffic(trusted_proxies=("127.0.0.1/32",))
COLD_START_SECONDS = 11  # a worker that waits for what its elder counted teaches none to the next


def limited(*rules: RateRule, port: int) -> Any:
    return domain(port=port, policy=Policy(mode="off"), guard=Guard(rates=rules), traffic=PROXIED)


async def visit(shield: Shield, address: str, path: str = "/", *headers: str, body: bytes = b"") -> Answer:
    return await request(shield.port, "d1.example", path, f"X-Forwarded-For: {address}", *headers, body=body)


async def statuses(shield: Shield, count: int, address: str, path: str = "/", *headers: str) -> list[int]:
    return [(await visit(shield, address, path, *headers)).status for _ in range(count)]


async def test_client_over_the_limit_gets_429_and_others_do_not(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, limited(RateRule(id="all", requests=3), port=port)))
        assert await statuses(shield, 5, "198.51.100.1") == [200, 200, 200, 429, 429]
        answer = await visit(shield, "198.51.100.1")
        assert answer.headers["retry-after"] == "60"
        assert "Too many requests" in answer.text
        assert await statuses(shield, 2, "198.51.100.2") == [200, 200]
        assert {(event.action, event.rules) for event in await shield.told(3)} == {("limit", ("rate:all",))}


async def test_ipv6_clients_count_by_their_network(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, limited(RateRule(id="all", requests=2), port=port)))
        found = [(await visit(shield, f"2001:db8:0:1::{n}")).status for n in range(1, 4)]
        assert found == [200, 200, 429]
        assert (await visit(shield, "2001:db8:0:2::1")).status == 200


async def test_limit_changes_without_a_reload(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, limited(RateRule(id="all", requests=1), port=port)))
        assert await statuses(shield, 2, "198.51.100.1") == [200, 429]
        done = await shield.applier.apply(config(2, limited(RateRule(id="all", requests=100), port=port)))
        assert done.how == "runtime"
        assert await statuses(shield, 2, "198.51.100.1") == [200, 200]
        assert (await shield.applier.apply(config(3, limited(port=port)))).how == "runtime"


async def test_rate_that_comes_at_run_time_holds_for_ordinary_browsers(shield: Shield) -> None:
    """They leave at the first checks, as long as their domain asks for nothing more than its policy."""
    async with origin() as port:
        agent = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
        browser = (agent, "Accept: */*", "Accept-Language: en-US,en;q=0.5", "Connection: keep-alive")
        before, after = (
            domain(port=port, guard=Guard(rates=rates)) for rates in ((), (RateRule(id="all", requests=1),))
        )
        for number, (wanted, answers) in enumerate(((before, {200}), (after, {200, 429}), (before, {200}))):
            done = await shield.applier.apply(config(number, wanted))
            assert done.how == "runtime" or number == 0
            assert {(await request(shield.port, "d1.example", "/", *browser)).status for _ in range(3)} == answers


async def test_window_slides(shield: Shield) -> None:
    async with origin() as port:
        rule = RateRule(id="burst", requests=2, window_seconds=10)
        await shield.applier.apply(config(1, limited(rule, port=port)))
        assert await statuses(shield, 3, "198.51.100.1") == [200, 200, 429]
        await asyncio.sleep(21)
        assert (await visit(shield, "198.51.100.1")).status == 200


@pytest.mark.parametrize(
    ("rule", "headers"),
    [
        ({"key": "token"}, ["Authorization: Bearer one", "Authorization: Bearer two"]),
        ({"key": "token", "name": "X-Api-Key"}, ["X-Api-Key: one", "X-Api-Key: two"]),
        ({"key": "cookie", "name": "session"}, ["Cookie: session=one", "Cookie: a=b; session=two"]),
    ],
)
async def test_clients_are_told_apart_by_what_they_carry(
    shield: Shield, rule: dict[str, Any], headers: list[str]
) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, limited(RateRule(id="all", requests=1, **rule), port=port)))
        assert await statuses(shield, 2, "198.51.100.1", "/", headers[0]) == [200, 429]
        assert (await visit(shield, "198.51.100.7", "/", headers[0])).status == 429
        assert (await visit(shield, "198.51.100.1", "/", headers[1])).status == 200
        assert await statuses(shield, 2, "198.51.100.1") == [200, 429]


async def test_conditions(shield: Shield) -> None:
    rules = (
        RateRule(id="login", requests=1, path="/login", methods=("POST",)),
        RateRule(id="marked", requests=1, header="X-Marked"),
        RateRule(id="pages", requests=1, key="address-and-path", path="/p", window_seconds=3600),
    )
    async with origin() as port:
        await shield.applier.apply(config(1, limited(*rules, port=port)))
        assert await statuses(shield, 3, "198.51.100.1", "/login") == [200, 200, 200]
        posts = [(await visit(shield, "198.51.100.1", p, body=b"x")).status for p in ("/login", "/a/../login/b", "/")]
        assert posts == [200, 429, 200]
        assert await statuses(shield, 2, "198.51.100.1", "/", "X-Marked: 1") == [200, 429]
        assert [(await visit(shield, "198.51.100.1", p)).status for p in ("/p/1", "/p/2", "/p/1")] == [200, 200, 429]


async def test_login_abuse_counts_refusals_only(shield: Shield) -> None:
    rule = RateRule(id="login", requests=2, window_seconds=600, statuses="401,403-404")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"401 No" if b"wrong" in head else b"200 Fine"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await shield.applier.apply(config(1, limited(rule, port=port)))
        assert await statuses(shield, 5, "198.51.100.1", "/right") == [200] * 5
        assert await statuses(shield, 3, "198.51.100.1", "/wrong") == [401, 401, 429]
        assert (await visit(shield, "198.51.100.1", "/right")).status == 429
        assert (await visit(shield, "198.51.100.2", "/right")).status == 200


async def test_counters_survive_reloads(shield: Shield) -> None:
    rule = RateRule(id="all", requests=2, window_seconds=3600)
    async with origin() as port:
        await shield.applier.apply(config(1, limited(rule, port=port)))
        await asyncio.sleep(COLD_START_SECONDS)
        assert await statuses(shield, 3, "198.51.100.1") == [200, 200, 429]
        for revision in (2, 3):
            wanted = config(revision, limited(rule, port=port), domain(revision, port=port))
            assert (await shield.applier.apply(wanted)).how == "reload"
            await asyncio.sleep(0.5)
            assert (await visit(shield, "198.51.100.1")).status == 429


async def used(shield: Shield, table: str) -> int:
    """Return how many keys a table of counters holds."""
    answer = await cli.ask(shield.state.worker_socket, [f"show table counters/{table}"])
    return int(answer.partition("used:")[2].split()[0])


async def test_flood_of_new_clients_resets_nobody_and_memory_is_bounded(
    shield: Shield, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = 512
    async with origin() as port:
        shrink_tables(shield, monkeypatch, slots)
        await shield.applier.apply(config(1, limited(RateRule(id="all", requests=40), port=port)))
        assert (await statuses(shield, 42, "198.51.100.1"))[-1] == 429
        many = [f"10.{n // 250}.{n % 250}.1" for n in range(slots * 4)]
        for start in range(0, len(many), 64):
            found = await asyncio.gather(*(visit(shield, address) for address in many[start : start + 64]))
            assert sum(answer.status == 200 for answer in found) > 60
        assert (await visit(shield, "198.51.100.1")).status == 429
        assert slots // 2 < await used(shield, "short") <= slots


def shrink_tables(shield: Shield, monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
    """Let the shield render tables with few slots, in the configuration and in the engine that hashes into them."""
    monkeypatch.setattr("lumos_agent.render.haproxy.SLOTS", slots)
    for engine in shield.state.engine.glob("*.lua"):
        engine.write_text(engine.read_text().replace("local SLOTS = 2 ^ 19 | 0", f"local SLOTS = {slots}"))
