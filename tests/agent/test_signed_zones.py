"""Zones that shields sign: a validating resolver believes every answer, whichever of them gave it."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from lumos_agent import protocol
from lumos_agent.runner import run
from lumos_agent.zone import Address, Alias, Nameserver, Record, Zone
from lumos_agent.zone_signing import AGAIN_SECONDS, ZoneSigning
from tests.agent.builders import ident
from tests.agent.validator import validator
from tests.agent.zones import (
    RunningKnot,
    country_database,
    nameserver,
    proxied,
    record,
    snapshot_of,
    zone,
    zone_without,
)

pytestmark = pytest.mark.integration

GERMANY = "127.0.1.1"
RECORDS: tuple[Record, ...] = (
    record("www", "A", "192.0.2.1"),
    record("www", "A", "192.0.2.2", place="country:DE"),
    record("www", "TXT", '"a;\\"b"'),
    record("w", "A", "192.0.2.11", weight=200),
    record("w", "A", "192.0.2.12", weight=100),
    record("*.wild", "A", "192.0.2.9"),
    record("name", "CNAME", "www.example.com."),
    record("sub", "NS", "ns.example.net."),
)
PROXIED = proxied("shop", "192.0.2.50", "192.0.2.51")
APEX = Alias(owner="@", ttl=60, target="shop.example.net.")


@pytest.fixture
async def knot() -> AsyncIterator[RunningKnot]:
    async with nameserver() as made:
        country_database(made.database, {"127.0.1.0/24": ("DE", "EU")})
        made.knot.use_resolved({"shop.example.net.": ("203.0.113.1",)})
        yield made


def signed(*records: Record, serial: int = 1, keys: tuple[str, ...] = (), **more: Any) -> Zone:
    """Return a signed zone with a name server for each key."""
    servers = tuple(
        Nameserver(server=ident(n), number=n, addresses=("192.0.2.53",), key=key) for n, key in enumerate(keys, 1)
    )
    made = zone(*records, serial=serial, signed=True, **more)
    return structs.replace(made, nameservers=servers) if servers else made


async def own_key(knot: RunningKnot, served: Zone) -> str:
    await knot.serve(served)
    ((_, key),) = knot.knot.signed_zones()
    return key


async def test_every_kind_of_answer_is_proved(knot: RunningKnot) -> None:
    served = signed(*RECORDS, proxied=(PROXIED,), aliases=(APEX,))
    key = await own_key(knot, served)
    async with validator("example.com", [key], [knot.port]) as resolver:
        for name, kind, expected in (
            ("www", "A", ["192.0.2.1"]),
            ("www", "TXT", ['"a;\\"b"']),
            ("shop", "A", ["192.0.2.50", "192.0.2.51"]),
            ("any.wild", "A", ["192.0.2.9"]),
            ("name", "A", ["192.0.2.1", "www.example.com."]),
            ("www", "MX", []),
            ("w", "TXT", []),
            ("any.wild", "TXT", []),
        ):
            assert await resolver.ask(f"{name}.example.com", kind) == ("NOERROR", expected), (name, kind)
        assert await resolver.ask("example.com") == ("NOERROR", ["203.0.113.1"])
        assert await resolver.ask("nobody.example.com") == ("NXDOMAIN", [])
        weighted = {(code, *data) for code, data in [await resolver.ask("w.example.com") for _ in range(20)]}
        assert weighted <= {("NOERROR", "192.0.2.11"), ("NOERROR", "192.0.2.12")}
    async with validator("example.com", [key], [knot.port], source=GERMANY) as resolver:
        assert await resolver.ask("www.example.com") == ("NOERROR", ["192.0.2.2"])
        assert await resolver.ask("www.example.com", "MX") == ("NOERROR", [])
    assert (await knot.ask("example.com", "SOA")).answer[0][0].serial == 1


async def test_apex_with_weights_keeps_its_keys(knot: RunningKnot) -> None:
    weighted = tuple(
        Address(address=f"192.0.2.5{n}", server=ident(100 + n), weight=weight) for n, weight in enumerate((1, 3))
    )
    served = signed(proxied=(structs.replace(proxied("@"), addresses=weighted),))
    async with validator("example.com", [await own_key(knot, served)], [knot.port]) as resolver:
        code, data = await resolver.ask("example.com")
        assert (code, len(data)) == ("NOERROR", 1)
        assert (await resolver.ask("example.com", "SOA"))[0] == "NOERROR"
        assert (await resolver.ask("example.com", "NS"))[0] == "NOERROR"
        await knot.knot.apply(snapshot_of(zone_without(served, {"192.0.2.51"})))
        assert await resolver.ask("example.com") == ("NOERROR", ["192.0.2.50"])


async def test_shields_with_keys_of_their_own_are_believed_by_the_keys_of_all(knot: RunningKnot) -> None:
    served = signed(*RECORDS)
    async with nameserver() as other:
        keys = (await own_key(knot, served), await own_key(other, served))
        assert keys[0] != keys[1]
        both = signed(*RECORDS, serial=2, keys=keys)
        for shield in (knot, other):
            await shield.serve(both)
        assert await knot.answers("example.com", "DNSKEY") == await other.answers("example.com", "DNSKEY")
        assert await knot.answers("example.com", "SOA") == await other.answers("example.com", "SOA")
        async with validator("example.com", keys, [knot.port]) as resolver:
            assert (await resolver.ask("www.example.com"))[0] == "NOERROR"
        async with validator("example.com", keys, [other.port]) as resolver:
            assert (await resolver.ask("nobody.example.com"))[0] == "NXDOMAIN"
        async with validator("example.com", keys[:1], [other.port]) as resolver:
            assert (await resolver.ask("www.example.com"))[0] == "unproved"


async def test_failover_and_new_signatures_leave_serial_and_key(knot: RunningKnot) -> None:
    served = signed(*RECORDS, proxied=(PROXIED,), serial=7)
    key = await own_key(knot, served)
    async with validator("example.com", [key], [knot.port]) as resolver:
        await knot.knot.apply(snapshot_of(zone_without(served, {"192.0.2.50"})))
        assert await resolver.ask("shop.example.com") == ("NOERROR", ["192.0.2.51"])
        await knot.knot.sign_again([served])
        assert (await resolver.ask("shop.example.com"))[0] == "NOERROR"
    assert (await knot.ask("example.com", "SOA")).answer[0][0].serial == 7
    await knot.serve(zone(record("www", "A", "192.0.2.1"), serial=8))
    assert await knot.answers("example.com", "DNSKEY") == []
    assert not knot.knot.signed_zones()
    await knot.knot.apply(snapshot_of())
    knot.knot = knot.again()
    assert await own_key(knot, signed(*RECORDS, serial=9)) == key


async def test_serial_that_knot_raised_without_an_agent_is_taken_back(knot: RunningKnot) -> None:
    served = signed(*RECORDS, serial=7)
    await knot.serve(served)
    await run(["knotc", "-b", "-s", str(knot.state.run / "k.sock"), "zone-sign", served.name])
    assert (await knot.ask("example.com", "SOA")).answer[0][0].serial == 8
    knot.knot = knot.again()
    knot.knot.use_resolved({"shop.example.net.": ("203.0.113.1",)})
    await knot.serve(served)
    assert (await knot.ask("example.com", "SOA")).answer[0][0].serial == 7


async def test_shield_that_is_not_listed_answers_but_is_named_to_nobody(knot: RunningKnot) -> None:
    first = Nameserver(server=ident(1), number=1, addresses=("192.0.2.53",))
    second = Nameserver(server=ident(2), number=2, addresses=("192.0.2.54",), listed=False)
    await knot.serve(structs.replace(zone(), nameservers=(first, second)))
    assert await knot.answers("example.com", "NS") == ["ns1.example.com."]
    assert await knot.answers("ns2.example.com") == ["192.0.2.54"]


async def test_keys_are_told_until_the_zone_has_them_and_signatures_are_new_every_day(
    knot: RunningKnot, tmp_path: Path
) -> None:
    said: list[protocol.AgentMessage] = []

    async def send(message: protocol.AgentMessage) -> None:
        said.append(message)

    signing = ZoneSigning(knot.knot, send, tmp_path / "signed")
    await signing.look(0.0)
    assert said == []
    served = signed(*RECORDS)
    key = await own_key(knot, served)
    told = protocol.ZoneKeys(keys=(protocol.ZoneKey(zone_id=served.id, public_key=key),))
    now = time.time()
    for _ in range(2):
        await signing.look(now)
    assert said == [told, told]
    await knot.serve(signed(*RECORDS, keys=(key,), serial=2))
    os.utime(tmp_path / "signed", (now, now))
    await signing.look(now + AGAIN_SECONDS - 1)
    assert (tmp_path / "signed").stat().st_mtime == now
    await signing.look(now + AGAIN_SECONDS)
    assert (tmp_path / "signed").stat().st_mtime != now
    assert len(said) == 2


@pytest.mark.parametrize(
    "key", ["x", "A" * 88, "A" * 86 + "==\n", "A" * 85 + '"==', "A" * 80 + "\n; $==", "A" * 87 + "="]
)
def test_what_is_no_key_reaches_no_zone_file(key: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"server": ident(1), "number": 1, "key": key}, Nameserver)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"zone_id": ident(1), "public_key": key}, protocol.ZoneKey)
