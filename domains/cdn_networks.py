"""Which networks are a CDN's: what its publisher said last, or what came with this version if that is newer."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import UNSET, UnsetType

from domains.cdn_models import CdnList
from lumos.addresses import NetworkSet
from lumos_agent.cdns import Name, Published, cdns, newest
from lumos_agent.schema import Domain as DomainPart


def published(names: Iterable[Name]) -> tuple[Published, ...]:
    """Return what the publishers of these CDNs said, sorted by name, as far as they were asked."""
    rows = CdnList.objects.filter(name__in=names).exclude(as_of=None).order_by("name")
    return tuple(Published(name=row.name, as_of=row.as_of.isoformat(), networks=tuple(row.networks)) for row in rows)


def trusted(domains: Iterable[DomainPart]) -> set[Name]:
    """Return the CDNs that any of these domains trusts."""
    return {name for domain in domains for name in domain.traffic.trusted_cdns}


def cdn_parts(servers: Mapping[Any, Iterable[DomainPart]]) -> dict[Any, tuple[Published, ...] | UnsetType]:
    """Return {server: the lists that it needs with its domains}; unset if there are none."""
    used = {server: trusted(domains) for server, domains in servers.items()}
    names = set().union(*used.values())
    found = published(names) if names else ()
    return {server: tuple(one for one in found if one.name in theirs) or UNSET for server, theirs in used.items()}


def known() -> Mapping[Name, Published]:
    """Return the list of every CDN that holds now."""
    return newest(published(cdns()))


def cdn_choices() -> list[tuple[str, str]]:
    """Return (name, label) of each CDN for a form."""
    return [(name, f"{cdns()[name].title} (networks as of {one.as_of})") for name, one in known().items()]


def everybodys() -> NetworkSet:
    """Return the networks of all CDNs."""
    return _set(tuple(network for one in known().values() for network in one.networks))


@lru_cache(maxsize=1)
def _set(networks: tuple[str, ...]) -> NetworkSet:
    return NetworkSet(networks)
