"""Targets of aliases are looked up, remembered, and kept while nobody can say."""

from pathlib import Path

from lumos_agent.aliases import Aliases, Found
from lumos_agent.dns import Resolver
from lumos_agent.schema import Snapshot
from lumos_agent.zone import Alias
from tests.agent.nameserver import nameserver
from tests.agent.zones import snapshot_of, zone

TARGET = "shop.example.net."


async def test_addresses_follow_the_target_and_stay_while_nobody_answers(tmp_path: Path) -> None:
    told: list[Found] = []

    async def changed(found: Found) -> None:
        told.append(found)

    wanted: list[Snapshot] = [snapshot_of(zone(aliases=(Alias(owner="@", ttl=60, target=TARGET),)))]
    records = {("shop.example.net", "A"): ["203.0.113.2", "203.0.113.1"], ("shop.example.net", "AAAA"): ["2001:db8::1"]}
    async with nameserver(records) as (port, _):
        aliases = Aliases(tmp_path / "known", Resolver([("127.0.0.1", port)]), lambda: wanted[0], changed)
        await aliases.update()
        assert told[-1] == {TARGET: ("2001:db8::1", "203.0.113.1", "203.0.113.2")}
        records["shop.example.net", "A"] = ["silence"]
        records["shop.example.net", "AAAA"] = []
        await aliases.update()
        assert told[-1] == aliases.known() == {TARGET: ("203.0.113.1", "203.0.113.2")}
        wanted[0] = snapshot_of()
        await aliases.update()
        assert told[-1] == {}
        await aliases.update()
        assert len(told) == 3
