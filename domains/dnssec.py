"""Signed zones: whose keys are published, which of them the parent knows (DS), and when signing may end.

Each shield signs with its own key and publishes the keys of all (RFC 8901, model 2). A resolver that validates refuses
what a shield says whose key has no DS while others have one, so such a shield is named to nobody until it has.
"""

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from django.db import connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.delegation import Delegation, Network, Signers, check_delegation, signers_at_parent
from domains.dnssec_status import digests_of, problems_at_parent
from domains.zone_following import raise_serials
from domains.zone_models import Zone, ZoneServer
from lumos.errors import Conflict
from lumos_agent import protocol
from lumos_agent.zone import KEY_TTL
from servers import revisions, wake
from servers.models import Server

CHECK_EVERY = timedelta(minutes=30)
FRESH = timedelta(hours=2)
AGAIN = timedelta(minutes=1)
BATCH = 1000


def switch(*, zone: Zone, signed: bool, anyway: bool, actor: User, network: Network | None = None) -> None:
    """Have a zone signed or not; before signing ends the parent is asked.

    Raises:
        Conflict: as `switch_off`.
        Zone.DoesNotExist: it is gone.
    """
    if signed:
        switch_on(zone_id=zone.pk, actor=actor)
        return
    if not anyway:
        check_parent(zone, network)
    switch_off(zone_id=zone.pk, actor=actor, anyway=anyway)


@transaction.atomic
def switch_on(*, zone_id: uuid.UUID, actor: User) -> Zone:
    """Have a zone signed by its shields; nothing depends on the signatures until the parent has a DS.

    Raises:
        Zone.DoesNotExist: it is gone.
    """
    zone: Zone = Zone.objects.select_for_update(no_key=True).get(pk=zone_id)
    if not zone.dnssec:
        zone.dnssec, zone.ds_until, zone.ds_checked_at = True, None, None
        _switched(zone, actor)
    return zone


@transaction.atomic
def switch_off(*, zone_id: uuid.UUID, actor: User, anyway: bool = False) -> Zone:
    """Have a zone served without signatures; the shields keep their keys.

    Raises:
        Conflict: resolvers may know a DS of it, or nobody knows whether they do, and it is not to be done `anyway`.
        Zone.DoesNotExist: it is gone.
    """
    zone: Zone = Zone.objects.select_for_update(no_key=True).get(pk=zone_id)
    if not zone.dnssec:
        return zone
    after = f"With a DS that resolvers know and without signatures nobody who validates finds {zone.name}."
    if zone.ds_until is not None and not anyway:
        moment = max(zone.ds_until, timezone.now()).strftime("%Y-%m-%d %H:%M UTC")
        raise Conflict(
            f"The parent zone has a DS of {zone.name}, or resolvers remember one. Remove every DS at your registrar "
            f"and switch signing off after resolvers have forgotten it, which is {moment} at the earliest. {after}"
        )
    if (zone.ds_checked_at is None or zone.ds_checked_at < timezone.now() - FRESH) and not anyway:
        raise Conflict(f"The parent zone could not be asked whether it has a DS of {zone.name}. {after}")
    zone.dnssec, zone.ds_until, zone.ds_checked_at = False, None, None
    _switched(zone, actor)
    return zone


def _switched(zone: Zone, actor: User) -> None:
    zone.save()
    zone.nameservers.update(is_listed=True, ds_trusted_at=None)
    _bump(zone, actor, {"dnssec": [not zone.dnssec, zone.dnssec]})
    _expect_keys(zone)
    zone.refresh_from_db()


@transaction.atomic
def record_keys(*, server_id: uuid.UUID, report: protocol.ZoneKeys) -> None:
    """Keep the keys with which a shield signs its zones, and have all shields of these zones publish them."""
    told = {key.zone_id: key.public_key for key in report.keys if _is_key(key.public_key)}
    signed = Zone.objects.filter(pk__in=told, dnssec=True, nameservers__server=server_id).values("pk")
    for zone in Zone.objects.select_for_update(no_key=True).filter(pk__in=signed).order_by("pk"):
        row = ZoneServer.objects.select_related("server").get(zone=zone, server=server_id)
        if row.dnskey == told[str(zone.pk)]:
            continue
        row.dnskey, row.ds_trusted_at = told[str(zone.pk)], None
        if zone.ds_until is not None:
            row.is_listed = not zone.nameservers.exclude(pk=row.pk).filter(is_listed=True).exists()
        row.save()
        _bump(zone, None, {f"key of ns{row.number}": [None, row.dnskey]})
        _expect_keys(zone)


def _is_key(public_key: str) -> bool:
    """Whether it is a point of the curve."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + base64.b64decode(public_key))
    except ValueError:
        return False
    return True


def check(zone: Zone, network: Network | None = None) -> Delegation:
    """Ask the DNS about a zone and its signers; takes some seconds at most."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(signers_at_parent, zone.name, network)
        found = check_delegation(zone, network)
        signers = asked.result()
    if signers is not None:
        record_parent(zone_id=zone.pk, found=signers)
    zone.refresh_from_db()
    return replace(found, problems=[*found.problems, *problems_at_parent(zone, signers)])


def check_parent(zone: Zone, network: Network | None = None) -> None:
    """Ask the parent of a zone which DS it has, and act on it."""
    if not connection.in_atomic_block:
        connection.close()  # slow name servers must not hold a connection to the database
    found = signers_at_parent(zone.name, network)
    if found is not None:
        record_parent(zone_id=zone.pk, found=found)


@transaction.atomic
def record_parent(*, zone_id: uuid.UUID, found: Signers) -> None:
    """Keep what the parent says, and name those shields of a zone to everybody whose keys all resolvers can trust."""
    now = timezone.now()
    zone = Zone.objects.select_for_update(no_key=True).filter(pk=zone_id, dnssec=True).first()
    if zone is None:
        return
    rows = list(zone.nameservers.select_related("server", "zone"))
    before = {row.pk: row.is_listed for row in rows}
    _judge(zone, rows, found, now)
    zone.ds_checked_at = now
    zone.save()
    for row in rows:
        row.save()
    if changed := [row for row in rows if row.is_listed != before[row.pk]]:
        _bump(zone, None, {f"ns{row.number} listed": [before[row.pk], row.is_listed] for row in changed})
    wake.pages_on_commit(zone.account_id, "servers")


def _judge(zone: Zone, rows: list[ZoneServer], found: Signers, now: datetime) -> None:
    """Set when each key can be trusted by all, and who is listed: never nobody."""
    if not found.digests:
        if zone.ds_until is None or zone.ds_until <= now:
            zone.ds_until = None
            for row in rows:
                row.ds_trusted_at, row.is_listed = None, True
        return
    wait = timedelta(seconds=0 if zone.ds_until is None else max(found.ttl_seconds, KEY_TTL))
    zone.ds_until = now + timedelta(seconds=found.ttl_seconds)
    for row in rows:
        if found.digests.isdisjoint(digests_of(row)):
            row.ds_trusted_at = None
        elif row.ds_trusted_at is None:
            row.ds_trusted_at = now + wait
    known = [row for row in rows if row.ds_trusted_at is not None]
    listed = [row for row in known if row.ds_trusted_at and row.ds_trusted_at <= now] or known
    if listed:
        for row in rows:
            row.is_listed = row in listed


def _bump(zone: Zone, actor: User | None, changes: dict[str, list[Any]]) -> None:
    """Have all shields of a zone serve what its rows say now; its row is held."""
    cause = audit.record(actor, audit.Action.ZONE_CHANGED, zone, changes)
    raise_serials([zone])
    revisions.bump([row.server for row in zone.nameservers.select_related("server")], cause=cause)


def _expect_keys(zone: Zone) -> None:
    """Note the revisions that have shields publish the keys of all as they are now."""
    revision = Server.objects.filter(pk=OuterRef("server_id")).values("revision")[:1]
    zone.nameservers.update(keys_revision=Subquery(revision))


def due(now: datetime) -> list[tuple[Any, Any]]:
    """Return (account, zone) of signed zones of everybody whose parents are to be asked, the longest waiting first."""
    waits = Q(nameservers__is_listed=False, nameservers__ds_trusted_at__lte=now, ds_asked_at__lte=now - AGAIN)
    rows: QuerySet[Zone] = Zone.unscoped.filter(
        Q(ds_asked_at=None) | Q(ds_asked_at__lte=now - CHECK_EVERY) | waits, dnssec=True
    ).distinct()
    return list(rows.order_by(F("ds_asked_at").asc(nulls_first=True)).values_list("account_id", "pk")[:BATCH])


def look(zone_id: uuid.UUID) -> None:
    """Ask the parent of a signed zone; of several at once only one does."""
    now = timezone.now()
    free = Q(ds_asked_at=None) | Q(ds_asked_at__lte=now - AGAIN)
    if not Zone.objects.filter(free, pk=zone_id, dnssec=True).update(ds_asked_at=now):
        return
    if (zone := Zone.objects.filter(pk=zone_id).first()) is not None:
        check_parent(zone)
