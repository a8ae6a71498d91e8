"""Account lists, countries, autonomous systems and user agents on a real shield."""

from pathlib import Path
from typing import Any

import mmdb_writer
import msgspec
import netaddr  # type: ignore[import-untyped]
import pytest

from lumos_agent.config import Settings, State
from lumos_agent.geo import Geo, Needs
from lumos_agent.protocol import Config
from lumos_agent.schema import Domain, Snapshot, digest_of, listings
from tests.agent.builders import Shield, domain, ident, snapshot
from tests.agent.visitor import get, origin

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

Lists = dict[str, tuple[list[str], list[str]]]  # {scope: (allow, deny)}


def with_lists(revision: int, lists: Lists, *domains: Domain) -> Config:
    parts = [part for scope in sorted(lists) for part in listings(scope, *lists[scope])]
    data = Snapshot(server_id=ident(0), domains=snapshot(*domains).domains, lists=tuple(parts)).encode()
    return Config(epoch="e", revision=revision, digest=digest_of(data), snapshot=msgspec.Raw(data))


def database(path: Path, records: dict[str, Any]) -> None:
    """Write a small database in MaxMind's format."""
    writer = mmdb_writer.MMDBWriter(6, "Test", languages=["en"], ipv4_compatible=True)
    for network, record in records.items():
        writer.insert_network(netaddr.IPSet([network]), record)
    path.parent.mkdir(exist_ok=True)
    writer.to_db_file(str(path))


def map_lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def country(code: str) -> dict[str, Any]:
    return {"country": {"iso_code": code}}


async def test_lists_of_all_domains_change_without_a_reload(shield: Shield) -> None:
    async with origin() as port:
        domains = domain(1, port=port), domain(2, port=port)
        await shield.applier.apply(with_lists(1, {}, *domains))
        one = ident(1)
        steps: list[tuple[Lists, tuple[int, int]]] = [
            ({"*": ([], ["127.0.0.0/8"])}, (403, 403)),
            ({"*": ([], ["127.0.0.0/8"]), one: (["127.0.0.1/32"], [])}, (200, 403)),
            ({"*": (["127.0.0.1/32"], []), one: ([], ["127.0.0.0/8"])}, (200, 200)),
            ({one: ([], ["127.0.0.0/8"])}, (403, 200)),
            ({}, (200, 200)),
        ]
        for revision, (lists, expected) in enumerate(steps, start=2):
            assert (await shield.applier.apply(with_lists(revision, lists, *domains))).how == "runtime"
            assert ((await get(shield.port, "d1.example"))[0], (await get(shield.port, "d2.example"))[0]) == expected


async def test_user_agents(shield: Shield) -> None:
    async with origin() as port:
        domains = domain(1, port=port), domain(2, port=port)
        lists: Lists = {ident(1): (["agent:goodbot"], ["agent:bot", "agent:a b (x;"]), "*": ([], ["agent:sqlmap"])}
        await shield.applier.apply(with_lists(1, lists, *domains))
        cases = [
            ("SqlMap/1.0", 403, 403), ("A Bot", 403, 200), ("GoodBot/2", 200, 200), ("x A B (X;)", 403, 200), ("", 200, 200),
        ]  # fmt: skip
        for agent, first, second in cases:
            assert (await get(shield.port, "d1.example", "/", f"User-Agent: {agent}"))[0] == first, agent
            assert (await get(shield.port, "d2.example", "/", f"User-Agent: {agent}"))[0] == second, agent
        assert (await get(shield.port, "d1.example"))[0] == 200
        lists = {ident(1): ([], ["agent:curl"]), ident(2): (["127.0.0.1/32"], ["agent:curl"])}
        assert (await shield.applier.apply(with_lists(2, lists, *domains))).how == "runtime"
        assert (await get(shield.port, "d1.example", "/", "User-Agent: curl/8"))[0] == 403
        assert (await get(shield.port, "d2.example", "/", "User-Agent: curl/8"))[0] == 200


async def test_countries_and_systems(shield: Shield) -> None:
    geo = Geo(shield.state)
    database(shield.state.geo / "country.mmdb", {"127.0.0.0/8": country("DE"), "10.0.0.0/8": country("FR")})
    database(shield.state.geo / "asn.mmdb", {"127.0.0.0/8": {"autonomous_system_number": 64500}})
    one, two = ident(1), ident(2)
    steps: list[tuple[Lists, int, int]] = [
        ({one: ([], ["country:DE"])}, 403, 200),
        ({one: (["country:DE"], [])}, 200, 200),
        ({one: (["country:FR"], [])}, 403, 200),
        ({one: (["country:FR", "127.0.0.1/32"], [])}, 200, 200),
        ({"*": (["country:FR"], []), two: (["127.0.0.0/8"], [])}, 403, 200),
        ({"*": ([], ["AS64500"]), two: (["AS64500"], [])}, 403, 200),
        ({"*": (["AS64500"], []), two: ([], ["127.0.0.1/32", "country:DE"])}, 200, 200),
        ({one: ([], ["AS64501"])}, 200, 200),
    ]
    async with origin() as port:
        domains = domain(1, port=port), domain(2, port=port)
        for revision, (lists, first, second) in enumerate(steps, start=1):
            await shield.applier.apply(with_lists(revision, lists, *domains))
            shield.applier.use_places(*await geo.update(Needs(True, True)))
            await shield.applier.refresh()
            answers = [(await get(shield.port, f"d{number}.example"))[0] for number in (1, 2)]
            assert answers == [first, second], lists
    assert geo.problem == ""


async def test_events_say_where_clients_are(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(with_lists(1, {ident(1): ([], ["127.0.0.0/8"])}, domain(1, port=port)))
        assert await event_places(shield) == [("", 0)]
        database(shield.state.geo / "country.mmdb", {"127.0.0.0/8": country("DE")})
        database(shield.state.geo / "asn.mmdb", {"127.0.0.0/8": {"autonomous_system_number": 64500}})
        assert await event_places(shield) == [("DE", 64500)]
        database(shield.state.geo / "country.mmdb", {"127.0.0.0/8": country("NL")})
        (shield.state.geo / "asn.mmdb").write_bytes(b"nonsense")
        assert await event_places(shield) == [("NL", 0)]


async def event_places(shield: Shield) -> list[tuple[str, int]]:
    """Return where the client of one denied request is, by its event."""
    assert (await get(shield.port, "d1.example"))[0] == 403
    return [(event.country, event.asn) for event in await shield.told()]


async def test_database_that_comes_goes_and_breaks(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.create()
    state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1"))
    geo = Geo(state)
    assert await geo.update(Needs()) == ("", "")
    assert geo.problem == ""
    assert await geo.update(Needs(countries=True)) == ("", "")
    assert "there is no database" in geo.problem
    source = state.geo / "country.mmdb"
    source.write_bytes(b"nonsense")
    assert await geo.update(Needs(countries=True)) == ("", "")
    assert "no usable database" in geo.problem
    records = {"192.0.2.0/25": country("DE"), "192.0.2.128/25": country("DE"), "2001:db8::/32": country("FR")}
    database(source, records | {"198.51.100.0/24": {"country": {"iso_code": "x\ny"}}, "203.0.113.0/24": {"city": 1}})
    first, _ = await geo.update(Needs(countries=True))
    assert map_lines(first) == ["192.0.2.0/24 country:DE", "2001:db8::/32 country:FR"]
    assert (geo.problem, geo.known()[0]) == ("", first)
    database(source, {"192.0.2.0/24": country("NL")})
    second, _ = await geo.update(Needs(countries=True))
    assert second != first
    assert [str(path) for path in state.geo.glob("*.map")] == [second]
    assert Geo(state).known()[0] == second
    database(source, {})
    assert await geo.update(Needs(countries=True)) == ("", "")
    assert "has no countries" in geo.problem


def test_needs_of_a_snapshot() -> None:
    listed = tuple(listings("*", ["country:DE"], ["AS1", "192.0.2.0/24"]))
    assert Needs.of(Snapshot(server_id=ident(0), domains=(), lists=listed)) == Needs(True, True)
    assert Needs.of(None) == Needs.of(snapshot()) == Needs()
