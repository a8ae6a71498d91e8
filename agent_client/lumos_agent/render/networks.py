"""IP lists of all domains as three maps that HAProxy looks up in constant time.

`nets` finds the longest listed network P that contains a client, `parents` leads from P to the next enclosing network,
`verdicts` holds "P|domain". The first verdict on the way up decides: at each P that a domain lists, the verdict counts
in the domain's own enclosing entries, so that allow wins over deny whatever is more specific. "P|domain~" marks the
networks of proxies whose X-Forwarded-For the domain trusts.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lumos_agent.schema import Domain

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Key = tuple[int, int, int]

DEPTH_MIN = 4


class NetworkMaps(NamedTuple):
    """Keys and values of the three maps; `depth` is how many networks nest at most, at least `DEPTH_MIN`."""

    nets: dict[str, str]
    parents: dict[str, str]
    verdicts: dict[str, str]
    depth: int


def _key(network: _Network) -> _Key:
    return network.version, int(network.network_address), network.prefixlen


def _enclosing(networks: Iterable[_Network]) -> dict[_Network, _Network | None]:
    """Return {network: smallest other network that contains it, or None}."""
    parents: dict[_Network, _Network | None] = {}
    open_networks: list[_Network] = []
    for network in sorted(networks, key=_key):
        while open_networks and not _contains(open_networks[-1], network):
            open_networks.pop()
        parents[network] = open_networks[-1] if open_networks else None
        open_networks.append(network)
    return parents


def _contains(outer: _Network, inner: _Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer and outer.prefixlen <= inner.prefixlen


def _domain_verdicts(entries: Mapping[_Network, str]) -> dict[_Network, str]:
    """Return the verdict at each of one domain's networks: allow if it or anything around it is allowed."""
    verdicts: dict[_Network, str] = {}
    for network, parent in _enclosing(entries).items():
        is_allowed = entries[network] == "allow" or (parent is not None and verdicts[parent] == "allow")
        verdicts[network] = "allow" if is_allowed else "deny"
    return verdicts


def network_maps(domains: Iterable[Domain]) -> NetworkMaps:
    """Return the maps of all lists of all domains."""
    verdicts: dict[str, str] = {}
    used: set[_Network] = set()
    for domain in domains:
        entries = {ipaddress.ip_network(text): "deny" for text in domain.policy.deny}
        entries |= {ipaddress.ip_network(text): "allow" for text in domain.policy.allow}
        used.update(entries)
        for proxy in map(ipaddress.ip_network, domain.traffic.trusted_proxies):
            used.add(proxy)
            verdicts[f"{proxy}|{domain.id}~"] = "proxy"
        for network, verdict in _domain_verdicts(entries).items():
            verdicts[f"{network}|{domain.id}"] = verdict
    parents = _enclosing(used)
    depths: dict[_Network, int] = {}
    for network, parent in parents.items():
        depths[network] = 1 + (depths[parent] if parent is not None else 0)
    return NetworkMaps(
        nets={str(network): str(network) for network in parents},
        parents={str(network): str(parent) for network, parent in parents.items() if parent is not None},
        verdicts=verdicts,
        depth=max(DEPTH_MIN, *depths.values()) if depths else DEPTH_MIN,
    )
