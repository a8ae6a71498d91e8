"""IP lists as maps: what the maps say is what the entries mean."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from lumos_agent.render import networks
from lumos_agent.render.networks import Change, NetworkMaps, NetworkTable
from tests.agent.builders import ident

_NETWORKS = st.one_of(
    st.builds(
        lambda value, length: str(ipaddress.ip_network((value << 28 | 0x0A000000 & 0xFFFFFFF, length), strict=False)),
        st.integers(0, 3),
        st.integers(1, 32),
    ),
    st.builds(
        lambda value, length: str(ipaddress.ip_network((value << 120, length), strict=False)),
        st.integers(0, 3),
        st.integers(1, 128),
    ),
)
_LISTS = st.tuples(st.lists(_NETWORKS, max_size=5), st.lists(_NETWORKS, max_size=5))


def looked_up(maps: NetworkMaps, client: str, domain_id: str) -> str | None:
    """Walk the maps as the generated rules do."""
    ip = ipaddress.ip_address(client)
    containing = [n for n in map(ipaddress.ip_network, maps.nets) if ip.version == n.version and ip in n]
    at = str(max(containing, key=lambda n: n.prefixlen)) if containing else None
    for _ in range(maps.depth):
        if at is None:
            return None
        if verdict := maps.verdicts.get(f"{at}|{domain_id}"):
            return verdict
        at = maps.parents.get(at)
    return None


def meant(entries: dict[str, str], client: str) -> str | None:
    """What the entries say: allow wins."""
    ip = ipaddress.ip_address(client)
    said = {v for text, v in entries.items() if ip.version == (n := ipaddress.ip_network(text)).version and ip in n}
    return "allow" if "allow" in said else "deny" if said else None


def table(*changes: Change) -> NetworkMaps:
    """Return the maps after changes one by one."""
    made = NetworkTable()
    made.update(changes)
    return made.maps()


def checked(maps: NetworkMaps, lists: dict[str, dict[str, str]]) -> None:
    edges = [ipaddress.ip_network(text) for text in maps.nets] or [ipaddress.ip_network("192.0.2.0/24")]
    clients = {str(ip) for net in edges for ip in (net.network_address, net.broadcast_address)}
    for client in clients | {"192.0.2.1", "2001:db8::1"}:
        for scope, entries in lists.items():
            assert looked_up(maps, client, scope) == meant(entries, client)


_STEPS = st.lists(
    st.tuples(st.sampled_from(["*", ident(1), ident(2)]), _NETWORKS, st.sampled_from(["allow", "deny", None])),
    max_size=25,
)


@given(_STEPS, st.sampled_from([0, 1, 3, 1000]))
def test_maps_mean_what_the_entries_say_after_any_changes(steps: list[Change], rebuild_from: int) -> None:
    lists: dict[str, dict[str, str]] = {scope: {} for scope in ("*", ident(1), ident(2))}
    changed, before = NetworkTable(), networks.REBUILD_FROM
    networks.REBUILD_FROM = rebuild_from
    try:
        for start in range(0, len(steps), 3):
            wanted = {scope: dict(entries) for scope, entries in lists.items()}
            for scope, network, verdict in steps[start : start + 3]:
                wanted[scope].pop(network, None)
                if verdict is not None:
                    wanted[scope][network] = verdict
            changes: list[Change] = [
                (scope, network, wanted[scope].get(network))
                for scope in lists
                for network in sorted(lists[scope].keys() | wanted[scope].keys())
                if lists[scope].get(network) != wanted[scope].get(network)
            ]
            changed.update(changes)
            lists = wanted
            checked(changed.maps(), lists)
        networks.REBUILD_FROM = 0
        anew = table(*[(scope, network, verdict) for scope in lists for network, verdict in lists[scope].items()])
        assert changed.maps() == anew
    finally:
        networks.REBUILD_FROM = before


def test_allow_wins_whatever_is_more_specific() -> None:
    one = ident(1)
    maps = table((one, "10.1.2.3/32", "deny"), (one, "10.0.0.0/8", "allow"), (one, "0.0.0.0/1", "deny"))
    assert looked_up(maps, "10.1.2.3", one) == "allow"
    assert looked_up(maps, "11.0.0.1", one) == "deny"
    assert looked_up(maps, "192.0.2.1", one) is None


def test_deep_nesting_is_followed_to_the_end() -> None:
    deny = [str(ipaddress.ip_network(("10.0.0.0", length))) for length in range(8, 20)]
    maps = table(*[(ident(1), network, "deny") for network in deny], (ident(2), "10.0.0.0/8", "deny"))
    assert maps.depth == len(deny)
    assert looked_up(maps, "10.0.0.1", ident(2)) == "deny"
