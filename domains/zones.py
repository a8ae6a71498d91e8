"""Verbs on zones and records: each is one transaction of rows, serial, audit entry and revision bump.

Whoever changes a zone holds its row, so rules about several records are looked at by one at a time.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from domains.rdata import (
    canonical_data,
    canonical_owner,
    canonical_place,
    canonical_ttl,
    canonical_weight,
    canonical_zone,
)
from domains.zone_following import raise_serials
from domains.zone_models import RecordType, Zone, ZoneRecord, ZoneServer
from domains.zone_rules import RecordData, refuse_wrong_name
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.zone import NAMESERVERS_MAX, RECORDS_MAX, ZONES_MAX
from servers import decommissioning, revisions
from servers.models import Server

FIELDS = ("name", "type", "data", "ttl", "place", "weight")


def canonical_record(zone: str, given: RecordData) -> RecordData:
    """Return a record of a zone in canonical form.

    Raises:
        InvalidInput: `field` is the part that breaks a rule.
    """
    kind = given.type.strip().upper()
    if given.server is not None and kind != RecordType.PROXIED:
        raise InvalidInput("Only a proxied name is about a server.", field="server")
    return RecordData(
        name=canonical_owner(given.name, zone),
        type=kind,
        data=canonical_data(kind, given.data, zone),
        ttl=canonical_ttl(given.ttl),
        place=canonical_place(given.place),
        weight=canonical_weight(given.weight),
        server=given.server,
    )


@transaction.atomic
def add_zone(*, name: str, servers: Sequence[Server], actor: User) -> Zone:
    """Serve one more zone from `servers`.

    Raises:
        InvalidInput: no name of a zone, or a server without a public address.
        Conflict: the account has this zone.
        LimitReached: the account has as many as it may.
    """
    if Zone.objects.count() >= ZONES_MAX:
        raise LimitReached(f"The account has {ZONES_MAX} zones, which is the limit.")
    zone = Zone(name=canonical_zone(name))
    try:
        with transaction.atomic():
            zone.save()
    except IntegrityError as error:
        raise Conflict(f"{zone.name} is a zone of this account already; edit that one.", field="name") from error
    _put_servers(zone, servers)
    changed: dict[str, list[Any]] = {"name": [None, zone.name], "servers": [None, [s.name for s in servers]]}
    cause = audit.record(actor, audit.Action.ZONE_ADDED, zone, changed)
    revisions.bump(servers, cause=cause)
    return zone


@transaction.atomic
def change_zone(*, zone_id: uuid.UUID, servers: Sequence[Server], actor: User) -> Zone:
    """Serve a zone from these servers; those that stay keep their names.

    Raises:
        InvalidInput: none, one twice, or one without a public address.
        Zone.DoesNotExist: it is gone.
    """
    zone = _locked(zone_id)
    before = _servers(zone)
    _put_servers(zone, servers)
    after = _servers(zone)
    changed = audit.changes({"servers": [s.name for s in before]}, {"servers": [s.name for s in after]})
    if changed:
        cause = audit.record(actor, audit.Action.ZONE_CHANGED, zone, changed)
        raise_serials([zone])
        revisions.bump({*before, *after}, cause=cause)
    return zone


@transaction.atomic
def remove_zone(*, zone: Zone, actor: User) -> None:
    """Serve a zone no longer."""
    servers = _servers(zone)
    cause = audit.record(actor, audit.Action.ZONE_REMOVED, zone, {"name": [zone.name, None]})
    zone.delete()
    revisions.bump(servers, cause=cause)


@transaction.atomic
def add_record(*, zone_id: uuid.UUID, given: RecordData, actor: User) -> ZoneRecord:
    """Add a record; its TTL becomes that of all records with its name and type (RFC 2181, 5.2).

    Raises:
        InvalidInput: the data breaks a rule of its type, or contradicts another record.
        Conflict: it is there already.
        LimitReached: the zone is full.
        Zone.DoesNotExist: the zone is gone.
    """
    zone = _locked(zone_id)
    clean = canonical_record(zone.name, given)
    if ZoneRecord.objects.filter(zone=zone).count() >= RECORDS_MAX:
        raise LimitReached(f"{zone.name} has {RECORDS_MAX} records, which is the limit of a zone.")
    row = ZoneRecord(zone=zone)
    _write(zone, row, clean)
    _changed(zone, audit.Action.RECORD_ADDED, {}, _described(row), actor)
    return row


@transaction.atomic
def change_record(*, record_id: uuid.UUID, actor: User, **values: Any) -> ZoneRecord:
    """Change what is given of a record; raises as `add_record` does.

    Raises:
        ZoneRecord.DoesNotExist: it is gone.
    """
    zone = _locked(ZoneRecord.objects.values_list("zone_id", flat=True).get(pk=record_id))
    row: ZoneRecord = ZoneRecord.objects.select_related("server").get(pk=record_id)
    before, name = _described(row), row.name
    _write(zone, row, canonical_record(zone.name, replace(data_of(row), **values)))
    if name != row.name:
        _refuse_wrong(zone, [name])
    after = _described(row)
    if audit.changes(before, after):
        _changed(zone, audit.Action.RECORD_CHANGED, before, after, actor)
    return row


@transaction.atomic
def remove_record(*, record: ZoneRecord, actor: User) -> None:
    """Remove a record.

    Raises:
        InvalidInput: others need it, as those for places need one for everybody else.
    """
    zone = _locked(record.zone_id)
    before = _described(record)
    record.delete()
    _refuse_wrong(zone, [record.name])
    _changed(zone, audit.Action.RECORD_REMOVED, before, dict.fromkeys(before), actor)


@transaction.atomic
def replace_records(*, zone_id: uuid.UUID, records: Sequence[RecordData], actor: User) -> dict[str, int]:
    """Make the records of a zone equal canonical `records`; returns {added, removed, kept}.

    Raises:
        InvalidInput, Conflict, LimitReached: as `add_record`.
    """
    if len(records) > RECORDS_MAX:
        raise LimitReached(f"{len(records)} records; a zone has at most {RECORDS_MAX}.")
    zone = _locked(zone_id)
    rows = {data_of(row): row.pk for row in ZoneRecord.objects.filter(zone=zone)}
    wanted = set(records)
    if len(wanted) != len(records):
        raise Conflict("A record is there twice; keep one of the two.")
    gone = [pk for data, pk in rows.items() if data not in wanted]
    new = [data for data in records if data not in rows]
    done = {"added": len(new), "removed": len(gone), "kept": len(rows) - len(gone)}
    if not new and not gone:
        return done
    ZoneRecord.objects.filter(pk__in=gone).delete()
    ZoneRecord.objects.bulk_create(
        [ZoneRecord(account_id=zone.account_id, zone=zone, **_columns(data)) for data in new], batch_size=500
    )
    _refuse_wrong(zone, None)
    cause = audit.record(actor, audit.Action.RECORDS_REPLACED, zone, {k: [None, v] for k, v in done.items()})
    raise_serials([zone])
    revisions.bump(_servers(zone), cause=cause)
    return done


def data_of(row: ZoneRecord) -> RecordData:
    """Return a row as data."""
    return RecordData(**{field: getattr(row, field) for field in FIELDS}, server=row.server_id)


def _locked(zone_id: uuid.UUID) -> Zone:
    # Zones come after domains and before servers in the order of locks.
    row: Zone = Zone.objects.select_for_update(no_key=True).get(pk=zone_id)
    return row


def _servers(zone: Zone) -> list[Server]:
    return [row.server for row in zone.nameservers.select_related("server").order_by("number")]


def _put_servers(zone: Zone, servers: Sequence[Server]) -> None:
    if not servers:
        raise InvalidInput("A zone needs a server; two or more are better, in case one is away.", field="servers")
    if len({server.pk for server in servers}) != len(servers) or len(servers) > NAMESERVERS_MAX:
        raise InvalidInput(f"Name each server once, and at most {NAMESERVERS_MAX}.", field="servers")
    for server in servers:
        decommissioning.require_in_service(server)
        if not (server.public_ipv4 or server.public_ipv6):
            raise InvalidInput(f"Enter a public address of the server {server.name} first.", field="servers")
    kept = {row.server_id: row.number for row in zone.nameservers.all()}
    if not zone.nameservers.filter(server__in=servers, is_listed=True).exists() and zone.ds_until is not None:
        raise InvalidInput(
            "The parent zone has no DS of any of these shields. Add them beside the present ones first, enter their DS "
            "at your registrar, and take the others away when the new ones are named.",
            field="servers",
        )
    zone.nameservers.exclude(server__in=servers).delete()
    taken = {kept[server.pk] for server in servers if server.pk in kept}
    free = (number for number in range(1, NAMESERVERS_MAX + 1) if number not in taken)
    for server in servers:
        if server.pk not in kept:
            listed = zone.ds_until is None
            ZoneServer.objects.create(zone=zone, server=server, number=next(free), is_listed=listed)
    _refuse_wrong(zone, [f"ns{row.number}" for row in zone.nameservers.all()])


def _write(zone: Zone, row: ZoneRecord, clean: RecordData) -> None:
    """Save a record, take the others of its set along to its TTL, and hold the name to the rules."""
    for field, value in _columns(clean).items():
        setattr(row, field, value)
    row.save()
    ZoneRecord.objects.filter(zone=zone, name=clean.name, type=clean.type).update(ttl=clean.ttl)
    names = [clean.name]
    if clean.type == RecordType.NS and clean.name != "@":
        below = ZoneRecord.objects.filter(zone=zone, name__endswith=f".{clean.name}")
        names += below.values_list("name", flat=True).distinct()
    _refuse_wrong(zone, names)


def _columns(data: RecordData) -> dict[str, Any]:
    return {field: getattr(data, field) for field in FIELDS} | {"server_id": data.server}


def _refuse_wrong(zone: Zone, names: Sequence[str] | None) -> None:
    """Hold the records of these names, None for all, to the rules; the rows are written already."""
    rows = ZoneRecord.objects.filter(zone=zone)
    cuts = set(rows.filter(type=RecordType.NS).exclude(name="@").values_list("name", flat=True).distinct())
    nameservers = {f"ns{number}" for number in zone.nameservers.values_list("number", flat=True)}
    by_name: dict[str, list[RecordData]] = {}
    for row in rows if names is None else rows.filter(name__in=names):
        by_name.setdefault(row.name, []).append(data_of(row))
    for name in sorted(by_name):
        refuse_wrong_name(by_name[name], nameservers=nameservers, delegated=cuts)


def _described(row: ZoneRecord) -> dict[str, Any]:
    return {**{field: getattr(row, field) for field in FIELDS}, "server": row.server and row.server.name}


def _changed(zone: Zone, action: audit.Action, before: dict[str, Any], after: dict[str, Any], actor: User) -> None:
    cause = audit.record(actor, action, zone, {k: [before.get(k), v] for k, v in after.items() if before.get(k) != v})
    raise_serials([zone])
    revisions.bump(_servers(zone), cause=cause)
