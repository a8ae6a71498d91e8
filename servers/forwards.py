"""Verbs on forwards, their part of a snapshot, and what was counted."""

import ipaddress
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.validators import canonical_origin
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent import protocol
from lumos_agent.forward import FORWARDS_MAX, RESERVED
from lumos_agent.forward import Forward as ForwardPart
from servers import counting, revisions
from servers.forward_models import Forward, ForwardHour, ProxyProtocol, Transport
from servers.forward_parts import PART_FIELDS
from servers.models import Server

KEPT = timedelta(days=30)
FIELDS = (
    "name", "protocol", "port", "target", "target_port", "idle_seconds", "connections", "packets_per_second",
    "proxy_protocol", "enabled",
)  # fmt: skip


def canonical_target(target: str, protocol: str) -> str:
    """Return where a forward goes, in canonical form.

    Raises:
        InvalidInput: it cannot be a target.
    """
    try:
        clean = canonical_origin(target)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field="target") from error
    if protocol == Transport.UDP:
        try:
            address = ipaddress.ip_address(clean)
        except ValueError as error:
            detail = f"UDP goes to an IP address: the kernel cannot resolve “{clean}”. Enter the address of the target."
            raise InvalidInput(detail, field="target") from error
        if address.is_loopback:
            raise InvalidInput("UDP cannot be passed to the shield itself; let that program listen.", field="target")
    return clean


def _check(row: Forward) -> None:
    """Make a forward canonical.

    Raises:
        InvalidInput: it cannot work, or a setting is the other protocol's.
        Conflict: the port is taken.
    """
    row.target = canonical_target(row.target, row.protocol)
    if row.port in RESERVED:
        detail = f"Port {row.port} is the shield's own: {RESERVED[row.port]}. Choose another port to listen on."
        raise Conflict(detail, field="port")
    if row.protocol == Transport.UDP and row.connections:
        raise InvalidInput("UDP has no connections; limit its packets.", field="connections")
    if row.protocol == Transport.UDP and row.proxy_protocol != ProxyProtocol.OFF:
        raise InvalidInput("The PROXY protocol is for TCP forwards only.", field="proxy_protocol")
    if row.protocol == Transport.TCP and row.packets_per_second:
        raise InvalidInput("Packets are limited for UDP; limit the connections.", field="packets_per_second")
    if row.target in (row.server.public_ipv4, row.server.public_ipv6):
        raise InvalidInput(f"{row.target} is the shield itself: packets would go in a circle.", field="target")
    others = Forward.objects.filter(server=row.server, protocol=row.protocol, port=row.port).exclude(pk=row.pk)
    if (other := others.first()) is not None:
        transport = row.get_protocol_display()
        raise Conflict(f"{transport} port {row.port} of {row.server} is used by “{other.name}” already.", field="port")


@transaction.atomic
def add_forward(*, server: Server, actor: User, **values: Any) -> Forward:
    """Pass a port of a shield on.

    Raises:
        InvalidInput: a setting makes no sense.
        Conflict: the port is taken.
        LimitReached: the shield has too many.
    """
    locked = Server.objects.select_for_update(no_key=True).get(pk=server.pk)
    if Forward.objects.filter(server=locked).count() >= FORWARDS_MAX:
        raise LimitReached(f"A server passes at most {FORWARDS_MAX} ports on.")
    row = Forward(server=locked, **values)
    _check(row)
    row.save()
    cause = audit.record(actor, audit.Action.FORWARD_ADDED, locked, {row.name: [None, _told(row)]})
    revisions.bump([locked], cause=cause, touched=None)
    return row


@transaction.atomic
def change_forward(*, forward: Forward, actor: User, **values: Any) -> Forward:
    """Change what is given of `FIELDS`; sessions to another target end, those of other forwards do not.

    Raises:
        InvalidInput: a setting makes no sense.
        Conflict: the port is taken.
    """
    locked = Server.objects.select_for_update(no_key=True).get(pk=forward.server_id)
    row: Forward = Forward.objects.select_for_update().get(pk=forward.pk)
    row.server = locked
    before, told = {name: getattr(row, name) for name in FIELDS}, _told(row)
    for name, value in values.items():
        setattr(row, name, value)
    _check(row)
    if before != {name: getattr(row, name) for name in FIELDS}:
        row.save()
        cause = audit.record(actor, audit.Action.FORWARD_CHANGED, locked, {row.name: [told, _told(row)]})
        revisions.bump([locked], cause=cause, touched=None)
    return row


@transaction.atomic
def remove_forward(*, forward: Forward, actor: User) -> None:
    """Pass a port on no more; its open connections end."""
    locked = Server.objects.select_for_update(no_key=True).get(pk=forward.server_id)
    cause = audit.record(actor, audit.Action.FORWARD_REMOVED, locked, {forward.name: [_told(forward), None]})
    forward.delete()
    revisions.bump([locked], cause=cause, touched=None)


def _told(row: Forward) -> str:
    off = "" if row.enabled else " (off)"
    return f"{row.protocol} {row.port} → {row.target}:{row.target_port}{off}"


def put_forwards(*, server: Server, wanted: Sequence[ForwardPart], actor: User) -> None:
    """Make what a server passes on be `wanted`, for a roll-back; rows that are switched off stay.

    Raises:
        InvalidInput: a rule of today forbids one.
    """
    rows = {str(row.pk): row for row in Forward.objects.filter(server=server)}
    parts = {part.id: part for part in wanted}
    for row in [row for pk, row in rows.items() if row.enabled and pk not in parts]:
        remove_forward(forward=row, actor=actor)
    for part in wanted:
        values: dict[str, Any] = {name: getattr(part, name) for name in PART_FIELDS} | {"enabled": True}
        if (known := rows.get(part.id)) is not None:
            change_forward(forward=known, actor=actor, **values)
        else:
            add_forward(server=server, actor=actor, pk=uuid.UUID(part.id), name=f"port {part.port}", **values)


def count(told: Iterable[protocol.ForwardTraffic], *, account_id: uuid.UUID, server_id: Any) -> None:
    """Add what one batch tells, inside the caller's transaction; forwards that are gone are ignored."""
    parts, now = list(told), timezone.now()
    own = Forward.objects.filter(server_id=server_id, pk__in={part.forward_id for part in parts})
    known = {str(pk): pk for pk in own.values_list("pk", flat=True)}
    sums: dict[tuple[uuid.UUID, datetime], Counter[str]] = {}
    for part in parts:
        if part.forward_id in known:
            key = known[part.forward_id], counting.hour_of(part.hour, now)
            total = sums.setdefault(key, Counter())
            total.update({name: getattr(part, name) for name in ForwardHour.COUNTERS})
    counting.add(ForwardHour, account_id, sums)


def add_day(rows: Sequence[Forward]) -> None:
    """Give forwards `day`: {counter: sum over the last 24 hours}."""
    since = timezone.now() - timedelta(hours=24)
    sums = ForwardHour.objects.filter(forward__in=rows, hour__gte=since).values("forward").order_by()
    totals = {row["forward"]: row for row in sums.annotate(**{f"sum_{n}": Sum(n) for n in ForwardHour.COUNTERS})}
    for row in rows:
        total = totals.get(row.pk, {})
        row.day = {name: total.get(f"sum_{name}", 0) for name in ForwardHour.COUNTERS}


def expire_hours(now: datetime) -> None:
    """Delete counts of all tenants that are older than `KEPT`."""
    ForwardHour.unscoped.filter(hour__lt=now - KEPT).delete()
