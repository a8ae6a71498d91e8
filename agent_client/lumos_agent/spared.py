"""Whom the kernel never limits or bans."""

import ipaddress
import itertools

from lumos_agent.cdns import networks_of
from lumos_agent.schema import Snapshot, is_network


def spared(snapshot: Snapshot) -> tuple[str, ...]:
    """Return networks, sorted: the account's servers, allow lists, proxies and CDNs in front of its domains, origins.

    Allow lists of one domain count for all: a packet names no domain.
    """
    trusted = networks_of((name for d in snapshot.domains for name in d.traffic.trusted_cdns), snapshot.cdns)
    found = {*snapshot.flood.spared, *itertools.chain.from_iterable(trusted.values())}
    for allowed, _ in snapshot.networks().values():
        found.update(entry for entry in allowed if is_network(entry))
    origins: set[str] = set()
    for domain in snapshot.domains:
        found.update(domain.traffic.trusted_proxies)
        origins.update(origin.address for origin in domain.origins)
    return tuple(sorted((found | set(map(_host_network, origins))) - {""}))


def _host_network(address: str) -> str:
    try:
        return str(ipaddress.ip_network(address))
    except ValueError:
        return ""
