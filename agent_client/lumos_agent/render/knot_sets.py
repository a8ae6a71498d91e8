"""A zone as sets of records per name: proxied names and aliases are addresses here. Pure."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from lumos_agent.zone import Address, Proxied, Zone, absolute

REFRESH, RETRY, EXPIRE, NEGATIVE = 3600, 600, 1_209_600, 300
NS_TTL = 3600
TEXT_TTL = 1

Resolved = Mapping[str, Sequence[str]]
Texts = Mapping[str, Sequence[str]]


class RecordSet(Struct):
    """The records of one name and type: those for everybody as (data, weight), and those of places."""

    ttl: int
    everywhere: list[tuple[str, int]] = []
    places: dict[str, list[str]] = {}


Sets = dict[str, dict[str, RecordSet]]


def record_sets(zone: Zone, resolved: Resolved, texts: Texts) -> Sets:
    """Return {absolute name: {type: set}} with SOA and NS; shields that are down are left out while others work.

    `resolved`: {target of an alias: addresses}; `texts`: {name below the zone: texts that are answered for a moment}.
    """
    sets = _authority(zone)
    for record in zone.records:
        owner = absolute(record.owner, zone.name)
        _add(sets, owner, record.kind, record.ttl, record.data, record.place, record.weight)
    for proxied in zone.proxied:
        owner = absolute(proxied.owner, zone.name)
        for a in answered(proxied):
            _add(sets, owner, _kind(a.address), proxied.ttl, a.address, a.place, a.weight)
    for alias in zone.aliases:
        for address in resolved.get(alias.target, ()):
            _add(sets, absolute(alias.owner, zone.name), _kind(address), alias.ttl, address)
    for name, values in texts.items():
        if "CNAME" not in sets.get(f"{name}.", {}):
            for value in values:
                _add(sets, f"{name}.", "TXT", TEXT_TTL, f'"{value}"')
    return sets


def _authority(zone: Zone) -> Sets:
    """Return SOA, NS and the addresses of the name servers."""
    sets: Sets = {}
    apex = f"{zone.name}."
    first = f"ns{next(server.number for server in zone.nameservers if server.listed)}.{apex}"
    times = f"{REFRESH} {RETRY} {EXPIRE} {NEGATIVE}"
    _add(sets, apex, "SOA", NS_TTL, f"{first} hostmaster.{apex} {zone.serial} {times}")
    for server in zone.nameservers:
        name = f"ns{server.number}.{apex}"
        if server.listed:
            _add(sets, apex, "NS", NS_TTL, name)
        for address in server.addresses:
            _add(sets, name, _kind(address), NS_TTL, address)
    return sets


def answered(proxied: Proxied) -> list[Address]:
    """Return the addresses that a proxied name answers with; there are always some if it has any.

    A place without a working shield is left out, so that everybody's answer holds there; if no shield works for
    everybody, those of all places stand in.
    """
    works = [a for a in proxied.addresses if not a.down] or list(proxied.addresses)
    groups: dict[str, list[Address]] = {}
    for address in works:
        groups.setdefault(address.place, []).append(address)
    if works and "" not in groups:
        groups[""] = [Address(address=a.address, server=a.server) for a in _unique(works)]
    if proxied.answer == "first":
        groups = {place: [a for a in group if a.server == group[0].server] for place, group in groups.items()}
    return [address for place in sorted(groups) for address in _unique(groups[place])]


def _unique(addresses: Sequence[Address]) -> list[Address]:
    return list({a.address: a for a in reversed(addresses)}.values())[::-1]


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _add(sets: Sets, owner: str, kind: str, ttl: int, data: str, place: str = "", weight: int = 0) -> None:
    found = sets.setdefault(owner, {}).setdefault(kind, RecordSet(ttl))
    if place:
        found.places.setdefault(place, []).append(data)
    elif data not in [known for known, _ in found.everywhere]:
        found.everywhere.append((data, weight))
