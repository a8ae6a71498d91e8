"""Sharded maps: they are maps, and what changes costs shards, not the map."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from lumos_agent.plan import MAP_ORDER, plan
from lumos_agent.render.entries import SHARDS, Entries, EntriesTable, differing
from lumos_agent.render.haproxy import Artefact, map_entries, map_text
from lumos_agent.render.networks import NetworkTable

KEYS = st.integers(0, 40).map(lambda number: f"10.0.0.{number}")
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.sampled_from(["allow", "deny"])))


@given(CHANGES, CHANGES, st.dictionaries(st.sampled_from(["country:DE", "AS1"]), st.just("deny")))
def test_a_table_is_a_map_and_its_versions_stay_as_they_were(
    first: list[tuple[str, str | None]], second: list[tuple[str, str | None]], more: dict[str, str]
) -> None:
    table, plain = EntriesTable(), dict[str, str]()
    versions: list[tuple[Entries, dict[str, str]]] = []
    for changes in (first, second):
        for key, value in changes:
            if value is None:
                assert table.pop(key) == plain.pop(key, None)
            else:
                table[key] = plain[key] = value
            assert table.get(key) == plain.get(key)
        versions.append((table.entries().also(more), plain | more))
    for entries, expected in versions:
        assert dict(entries) == expected
        assert entries == expected
        assert expected == entries
        assert len(entries) == len(expected)
        assert map_entries(map_text(entries)) == expected
    (old, was), (new, now) = versions
    assert (old == new) == (was == now)
    before, after = differing(old, new)
    for key in was.keys() | now.keys():
        assert was.get(key) == now.get(key) or (before.get(key), after.get(key)) == (was.get(key), now.get(key))


def test_a_change_of_one_entry_in_a_long_list_touches_one_shard_of_each_map() -> None:
    networks = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(20_000)]
    table = NetworkTable()
    table.update([("*", network, "deny") for network in networks])
    before = table.maps()
    table.update([("*", "127.0.0.3/32", "deny")])
    after = table.maps()
    unlike = [new.shards_unlike(old) for new, old in zip(after[:3], before[:3], strict=True)]
    assert [len(pairs) for pairs in unlike] == [1, 0, 1]
    compared = sum(len(part) for new, old in zip(after[:3], before[:3], strict=True) for part in differing(old, new))
    assert compared < 20 * len(networks) / SHARDS
    maps = [dict(zip(("nets", "parents", "verdicts"), version[:3], strict=True)) for version in (before, after)]
    empty: dict[str, Mapping[str, str]] = {name: {} for name in (*MAP_ORDER, "meta")}
    old, new = (Artefact("", {**empty, **some}, {}) for some in maps)
    assert [(change.map, change.key) for change in plan(old, new).changes] == [
        ("verdicts", "127.0.0.3/32|*"),
        ("nets", "127.0.0.3/32"),
    ]
