"""Rows -> zones of a snapshot: pure, sorted, in a constant number of queries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from domains.failover_parts import down_addresses
from domains.failover_weights import weights_by_domain
from domains.models import Domain, DomainServer
from domains.zone_models import RecordType, Zone, ZoneRecord, ZoneServer
from lumos_agent.zone import Address, Alias, Kind, Nameserver, Proxied, Record
from lumos_agent.zone import Zone as ZonePart
from servers.models import Server

Shields = dict[str, list[Server]]


class _Answer(NamedTuple):
    """What a hostname answers with: shields in order, addresses left out, and weights where its failover has them."""

    shields: list[Server]
    down: frozenset[str]
    weights: Mapping[str, int] | None


def zone_parts(servers: Iterable[Server]) -> Mapping[Any, Sequence[ZonePart]]:
    """Return {server id: the zones that it serves, by name}; nothing for those that serve none."""
    served = ZoneServer.objects.filter(server__in=servers)
    zones = list(Zone.objects.filter(pk__in=served.values("zone_id")).order_by("name"))
    if not zones:
        return {}
    parts = _parts(zones)
    pairs = set(served.values_list("server_id", "zone_id"))
    ids = {server_id for server_id, _ in pairs}
    return {pk: [parts[zone.pk] for zone in zones if (pk, zone.pk) in pairs] for pk in ids}


def _parts(zones: Sequence[Zone]) -> dict[Any, ZonePart]:
    """Return {zone id: part}."""
    nameservers: defaultdict[Any, list[Nameserver]] = defaultdict(list)
    for row in ZoneServer.objects.filter(zone__in=zones).select_related("server").order_by("number"):
        nameservers[row.zone_id].append(
            Nameserver(
                server=str(row.server_id),
                number=row.number,
                addresses=tuple(addresses_of(row.server)),
                key=row.dnskey,
                listed=row.is_listed,
            )
        )
    records: defaultdict[Any, list[ZoneRecord]] = defaultdict(list)
    rows = ZoneRecord.objects.filter(zone__in=zones).order_by("name", "type", "place", "data", "server_id")
    for record in rows:
        records[record.zone_id].append(record)
    names = {zone.pk: zone.name for zone in zones}
    proxied = {absolute(r.name, names[r.zone_id]) for r in rows if r.type == RecordType.PROXIED}
    answers = _answers(proxied)
    return {zone.pk: _part(zone, nameservers[zone.pk], records[zone.pk], answers) for zone in zones}


def absolute(name: str, zone: str) -> str:
    """Return a record's name as a hostname."""
    return zone if name == "@" else f"{name}.{zone}"


def addresses_of(server: Server) -> list[str]:
    """Return the public addresses of a shield, IPv4 first."""
    return [str(address) for address in (server.public_ipv4, server.public_ipv6) if address]


def shields_of(hostnames: Iterable[str]) -> Shields:
    """Return {hostname: shields in order} by the domain that serves it: itself, a wildcard above it, or the rest."""
    domains = domains_of(hostnames)
    carriers: defaultdict[Any, list[Server]] = defaultdict(list)
    assigned = DomainServer.objects.filter(domain_id__in=domains.values()).select_related("server")
    for row in assigned.order_by("position", "pk"):
        carriers[row.domain_id].append(row.server)
    return {name: carriers[domains[name]] if name in domains else [] for name in hostnames}


def domains_of(hostnames: Iterable[str]) -> dict[str, Any]:
    """Return {hostname: domain that serves it}, of those that are served."""
    served = {name: [name, f"*.{name.partition('.')[2]}", "*"] for name in hostnames}
    wanted = {candidate for candidates in served.values() for candidate in candidates}
    domains = dict(Domain.objects.filter(hostname__in=wanted).values_list("hostname", "pk"))
    chosen = {name: next((domains[c] for c in candidates if c in domains), None) for name, candidates in served.items()}
    return {name: domain for name, domain in chosen.items() if domain is not None}


def _answers(hostnames: Iterable[str]) -> dict[str, _Answer]:
    """Return {hostname: what it answers with}."""
    shields, domains = shields_of(hostnames), domains_of(hostnames)
    down, weights = down_addresses(domains.values()), weights_by_domain(domains.values())
    return {
        name: _Answer(shields[name], down.get(domain, frozenset()), weights.get(domain))
        for name in hostnames
        for domain in [domains.get(name)]
    }


def _part(
    zone: Zone, nameservers: list[Nameserver], rows: list[ZoneRecord], answers: Mapping[str, _Answer]
) -> ZonePart:
    made = (RecordType.PROXIED, RecordType.ALIAS)
    proxied: defaultdict[str, list[ZoneRecord]] = defaultdict(list)
    for row in rows:
        if row.type == RecordType.PROXIED:
            proxied[row.name].append(row)
    return ZonePart(
        id=str(zone.pk),
        name=zone.name,
        serial=zone.serial,
        signed=zone.dnssec,
        nameservers=tuple(nameservers),
        records=tuple(
            Record(owner=r.name, kind=cast(Kind, r.type), ttl=r.ttl, data=r.data, place=r.place, weight=r.weight)
            for r in rows
            if r.type not in made
        ),
        proxied=tuple(_proxied(of, answers[absolute(name, zone.name)]) for name, of in sorted(proxied.items())),
        aliases=tuple(Alias(owner=r.name, ttl=r.ttl, target=r.data) for r in rows if r.type == RecordType.ALIAS),
    )


def _proxied(rows: list[ZoneRecord], answer: _Answer) -> Proxied:
    """Return a proxied name; each row is about all shields of the domain or about one of them.

    Weights of the failover go before those of records, and mean that all shields take part. A wildcard has none.
    """
    first = rows[0]
    weights = None if first.name.startswith("*") else answer.weights
    addresses = [
        Address(
            address=address,
            server=str(shield.pk),
            place=row.place,
            weight=row.weight if weights is None else weights[str(shield.pk)],
            down=address in answer.down,
        )
        for row in rows
        for shield in answer.shields
        if row.server_id in (None, shield.pk)
        for address in addresses_of(shield)
    ]
    chosen = cast(Literal["all", "first"], first.data if weights is None else "all")
    return Proxied(owner=first.name, ttl=first.ttl, answer=chosen, addresses=tuple(addresses))
