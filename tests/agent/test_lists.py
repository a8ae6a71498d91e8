"""IP lists as maps: what the maps say is what the entries mean."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from lumos_agent.render.networks import NetworkMaps, network_maps
from lumos_agent.schema import Policy
from tests.agent.builders import domain

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


def meant(policy: Policy, client: str) -> str | None:
    """What the entries say: allow wins."""
    ip = ipaddress.ip_address(client)

    def covers(networks: tuple[str, ...]) -> bool:
        return any(ip.version == (n := ipaddress.ip_network(text)).version and ip in n for text in networks)

    return "allow" if covers(policy.allow) else "deny" if covers(policy.deny) else None


@given(st.lists(_LISTS, min_size=1, max_size=4))
def test_maps_mean_what_the_entries_say(lists: list[tuple[list[str], list[str]]]) -> None:
    policies = [Policy(allow=tuple(sorted(set(a))), deny=tuple(sorted(set(d)))) for a, d in lists]
    domains = [domain(number, policy=policy) for number, policy in enumerate(policies)]
    maps = network_maps(domains)
    edges = [ipaddress.ip_network(text) for text in maps.nets] or [ipaddress.ip_network("192.0.2.0/24")]
    clients = {str(ip) for net in edges for ip in (net.network_address, net.broadcast_address)}
    for client in clients | {"192.0.2.1", "2001:db8::1"}:
        for one in domains:
            assert looked_up(maps, client, one.id) == meant(one.policy, client)


def test_allow_wins_whatever_is_more_specific() -> None:
    policy = Policy(allow=("10.0.0.0/8",), deny=("10.1.2.3/32", "0.0.0.0/1"))
    maps = network_maps([domain(policy=policy)])
    assert looked_up(maps, "10.1.2.3", domain().id) == "allow"
    assert looked_up(maps, "11.0.0.1", domain().id) == "deny"
    assert looked_up(maps, "192.0.2.1", domain().id) is None


def test_deep_nesting_is_followed_to_the_end() -> None:
    deny = tuple(str(ipaddress.ip_network(("10.0.0.0", length))) for length in range(8, 20))
    maps = network_maps([domain(1, policy=Policy(deny=deny)), domain(2, policy=Policy(deny=("10.0.0.0/8",)))])
    assert maps.depth == len(deny)
    assert looked_up(maps, "10.0.0.1", domain(2).id) == "deny"
