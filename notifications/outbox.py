"""The outbox: what happened is a row of the transaction of its cause; a router makes deliveries of it."""

import logging
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from accounts.models import User
from accounts.tenancy import tenant_scope
from billing.entitlements import is_frozen, limits_of
from domains.models import Domain
from notifications import maintenance
from notifications.digests import first_try
from notifications.kinds import TRAITS, Kind
from notifications.models import Channel, ChannelKind, Delivery, Digest, Notification, RoutingState
from servers import wake
from servers.models import Server

log = logging.getLogger(__name__)

LIFETIME = timedelta(hours=24)
BATCH = 100


def record(
    kind: Kind,
    *,
    key: str,
    title: str,
    text: str = "",
    data: dict[str, Any] | None = None,
    server: Server | None = None,
    domain: Domain | None = None,
    person: User | None = None,
    once: str | None = None,
    is_urgent: bool | None = None,
) -> Notification | None:
    """Write down, in the caller's transaction, that something happened; deliveries follow after commit.

    None when it is not told again: the same `key` within the quiet time of its kind, or the same `once`.
    """
    traits = TRAITS[kind]
    same = Notification.objects.filter(key=key, created_at__gt=timezone.now() - traits.quiet)
    if traits.quiet and (found := same.first()) is not None:
        Notification.objects.filter(pk=found.pk).update(repeats=F("repeats") + 1)
        return None
    if once is not None and Notification.objects.filter(once=once).exists():
        return None
    row = Notification(
        kind=kind, key=key, once=once, title=title[:200], text=text[:4000].replace("\0", ""), data=data or {},
        server=server, domain=domain, person=person, is_urgent=traits.is_urgent if is_urgent is None else is_urgent,
    )  # fmt: skip
    row.save()
    enqueue_on_commit("notifications.tasks.route_due")
    wake.pages_on_commit(row.account_id, "notifications")
    return row


def enqueue_on_commit(task: str, *args: str) -> None:
    """Start a job after commit; while the broker is away the beat's sweep finds the row."""

    def start() -> None:
        try:
            import_string(task).apply_async(args, retry=False)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("job_not_started", extra={"job": task, "error": str(error)})

    transaction.on_commit(start)


def route_due() -> int:
    """Make deliveries of notifications that wait; returns how many were routed. Two routers share the work."""
    routed = 0
    while True:
        with transaction.atomic():
            skips = connection.features.has_select_for_update_skip_locked
            due = Notification.unscoped.select_for_update(skip_locked=skips, of=("self",) if skips else ())
            rows = list(due.filter(state=RoutingState.DUE).order_by("created_at")[:BATCH])
            done = sum(_routed(row) for row in rows)
        routed += done
        if len(rows) < BATCH or not done:
            return routed


def _routed(row: Notification) -> bool:
    """Route one row; a tenant's failure does not stop the others, and the row is tried again."""
    try:
        with transaction.atomic(), tenant_scope(row.account_id):
            _route(row)
    except Exception:
        log.exception("notification_not_routed", extra={"notification": str(row.pk)})
        return False
    return True


def _route(row: Notification) -> None:
    if TRAITS[Kind(row.kind)].is_silenced and maintenance.covers(server=row.server_id, domain=row.domain_id):
        row.state = RoutingState.SILENCED
    else:
        row.state = RoutingState.ROUTED
        ensure_default()
        strangers = {"kind": ChannelKind.EMAIL, "is_default": False, "confirmed_at": None}
        kinds = _allowed(row)
        for channel in Channel.objects.filter(enabled=True, kind__in=kinds).exclude(**strangers):
            if channel.wants(row.kind):
                deliver_to(row, channel)
    row.save(update_fields=["state"])


def _allowed(row: Notification) -> set[str]:
    """Return the kinds of channels that the account's plan has, and that a freeze leaves."""
    limits = limits_of(row.account_id)
    others = set(ChannelKind.values) - {ChannelKind.EMAIL}
    allowed = ({ChannelKind.EMAIL} if limits.email_alerts else set()) | (others if limits.webhooks else set())
    if is_frozen(row.account_id):
        allowed = set()
    return allowed | ({ChannelKind.EMAIL} if TRAITS[Kind(row.kind)].is_about_account else set())


def ensure_default() -> None:
    """Give the account in scope its first channel: e-mail to owners and admins. People may switch it off."""
    if not Channel.objects.filter(is_default=True).exists():
        try:
            with transaction.atomic():
                name, kind = "Owners and admins", ChannelKind.EMAIL
                Channel(name=name, kind=kind, digest=Digest.HOURLY, is_default=True).save()
        except IntegrityError:
            return  # another router was faster


def deliver_to(row: Notification, channel: Channel) -> Delivery:
    """Write down that a channel is to be told, and start its job after commit."""
    now = timezone.now()
    next_at = now if row.is_urgent else first_try(channel, now)
    delivery: Delivery
    delivery, _ = Delivery.objects.get_or_create(
        notification=row, channel=channel, defaults={"next_at": next_at, "expires_at": next_at + LIFETIME}
    )
    if next_at <= now:
        enqueue_on_commit("notifications.tasks.drain_channel", str(row.account_id), str(channel.pk))
    return delivery
