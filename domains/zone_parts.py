"""Rows -> zones of a snapshot: pure, sorted, in a constant number of queries."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, cast

from domains.models import Domain, DomainServer
from domains.zone_models import RecordType, Zone, ZoneRecord, ZoneServer
from lumos_agent.zone import Address, Alias, Kind, Nameserver, Proxied, Record
from lumos_agent.zone import Zone as ZonePart
from servers.models import Server

Shields = dict[str, list[Server]]


def zone_parts(server: Server) -> tuple[ZonePart, ...]:
    """Return the zones that a shield serves, by name."""
    zones = list(Zone.objects.filter(nameservers__server=server).order_by("name"))
    if not zones:
        return ()
    nameservers: defaultdict[Any, list[Nameserver]] = defaultdict(list)
    for row in ZoneServer.objects.filter(zone__in=zones).select_related("server").order_by("number"):
        nameservers[row.zone_id].append(
            Nameserver(server=str(row.server_id), number=row.number, addresses=tuple(addresses_of(row.server)))
        )
    records: defaultdict[Any, list[ZoneRecord]] = defaultdict(list)
    rows = ZoneRecord.objects.filter(zone__in=zones).order_by("name", "type", "place", "data", "server_id")
    for record in rows:
        records[record.zone_id].append(record)
    names = {zone.pk: zone.name for zone in zones}
    shields = shields_of({absolute(r.name, names[r.zone_id]) for r in rows if r.type == RecordType.PROXIED})
    return tuple(_part(zone, nameservers[zone.pk], records[zone.pk], shields) for zone in zones)


def absolute(name: str, zone: str) -> str:
    """Return a record's name as a hostname."""
    return zone if name == "@" else f"{name}.{zone}"


def addresses_of(server: Server) -> list[str]:
    """Return the public addresses of a shield, IPv4 first."""
    return [str(address) for address in (server.public_ipv4, server.public_ipv6) if address]


def shields_of(hostnames: Iterable[str]) -> Shields:
    """Return {hostname: shields in order} by the domain that serves it: itself, a wildcard above it, or the rest."""
    served = {name: [name, f"*.{name.partition('.')[2]}", "*"] for name in hostnames}
    wanted = {candidate for candidates in served.values() for candidate in candidates}
    domains = dict(Domain.objects.filter(hostname__in=wanted).values_list("hostname", "pk"))
    carriers: defaultdict[Any, list[Server]] = defaultdict(list)
    assigned = DomainServer.objects.filter(domain_id__in=domains.values()).select_related("server")
    for row in assigned.order_by("position", "pk"):
        carriers[row.domain_id].append(row.server)
    found = {}
    for name, candidates in served.items():
        domain = next((domains[candidate] for candidate in candidates if candidate in domains), None)
        found[name] = carriers[domain] if domain is not None else []
    return found


def _part(zone: Zone, nameservers: list[Nameserver], rows: list[ZoneRecord], shields: Shields) -> ZonePart:
    made = (RecordType.PROXIED, RecordType.ALIAS)
    proxied: defaultdict[str, list[ZoneRecord]] = defaultdict(list)
    for row in rows:
        if row.type == RecordType.PROXIED:
            proxied[row.name].append(row)
    return ZonePart(
        id=str(zone.pk),
        name=zone.name,
        serial=zone.serial,
        nameservers=tuple(nameservers),
        records=tuple(
            Record(owner=r.name, kind=cast(Kind, r.type), ttl=r.ttl, data=r.data, place=r.place, weight=r.weight)
            for r in rows
            if r.type not in made
        ),
        proxied=tuple(_proxied(of, shields[absolute(name, zone.name)]) for name, of in sorted(proxied.items())),
        aliases=tuple(Alias(owner=r.name, ttl=r.ttl, target=r.data) for r in rows if r.type == RecordType.ALIAS),
    )


def _proxied(rows: list[ZoneRecord], shields: list[Server]) -> Proxied:
    """Return a proxied name; each row is about all shields of the domain or about one of them."""
    addresses = [
        Address(address=address, server=str(shield.pk), place=row.place, weight=row.weight)
        for row in rows
        for shield in shields
        if row.server_id in (None, shield.pk)
        for address in addresses_of(shield)
    ]
    first = rows[0]
    answer = cast(Literal["all", "first"], first.data)
    return Proxied(owner=first.name, ttl=first.ttl, answer=answer, addresses=tuple(addresses))
