"""Telling one channel: its worker holds a lease, so that no two tell at once and a killed one loses nothing."""

import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from accounts.tenancy import active_account_id
from notifications import failures
from notifications.models import Attempt, Channel, ChannelKind, Delivery, DeliveryState, Digest, Notification
from notifications.transports import SendError, Sent, chat, email, kept, webhook

log = logging.getLogger(__name__)

# Longer than any attempt may take.
LEASE = timedelta(seconds=120)
TURN_DELIVERIES = 20
TURN_SECONDS = 20.0
CHANNELS_AT_ONCE = 4
DIGEST_MAX = 100
_STEPS_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200)

Transport = Callable[[Channel, Sequence[Notification]], Sent]
TRANSPORTS: dict[str, Transport] = {
    ChannelKind.EMAIL: email.send,
    ChannelKind.WEBHOOK: webhook.send,
    ChannelKind.CHAT: chat.send,
}


def due(now: datetime) -> Any:
    """Return the deliveries of all tenants that can be tried now."""
    free = Q(channel__claimed_until=None) | Q(channel__claimed_until__lte=now)
    rested = Q(channel__rests_until=None) | Q(channel__rests_until__lte=now)
    ready = Delivery.unscoped.filter(free, rested, state=DeliveryState.DUE, next_at__lte=now, channel__enabled=True)
    return ready.order_by()


def give_up_expired(now: datetime) -> None:
    """End deliveries of all tenants whose day is over, such as those of a channel that people switched off."""
    over = Delivery.unscoped.filter(state=DeliveryState.DUE, expires_at__lt=now)
    over.filter(reason="").update(reason="It could not be sent within a day.")
    over.update(state=DeliveryState.FAILED)


def drain(*, channel_id: uuid.UUID) -> bool:
    """Tell a channel what is due, oldest first, for one turn; returns whether more is due at once."""
    claim = uuid.uuid4()
    if not _claimed(channel_id, claim):
        return False
    started = time.monotonic()
    try:
        for _ in range(TURN_DELIVERIES):
            channel = _renewed(channel_id, claim)
            batch = _next_batch(channel) if channel is not None else []
            if channel is None or not batch:
                return False
            if not _tell(channel, batch) or time.monotonic() - started > TURN_SECONDS:
                break
    finally:
        Channel.objects.filter(pk=channel_id, claim=claim).update(claim=None, claimed_until=None)
    return bool(due(timezone.now()).filter(channel_id=channel_id).exists())


@transaction.atomic
def _claimed(channel_id: uuid.UUID, claim: uuid.UUID) -> bool:
    """Take the lease of a channel that is free; an account keeps only a few workers busy, and asks one at a time."""
    Account.objects.select_for_update(no_key=True).filter(pk=active_account_id()).first()
    now = timezone.now()
    if Channel.objects.filter(claimed_until__gt=now).count() >= CHANNELS_AT_ONCE:
        return False
    free = Channel.objects.filter(Q(claimed_until=None) | Q(claimed_until__lte=now), pk=channel_id)
    return bool(free.update(claim=claim, claimed_until=now + LEASE) == 1)


def _renewed(channel_id: uuid.UUID, claim: uuid.UUID) -> Channel | None:
    """Prolong the lease before an attempt; None when it was lost, or the channel is to be left alone."""
    now = timezone.now()
    own = Channel.objects.filter(
        Q(rests_until=None) | Q(rests_until__lte=now), pk=channel_id, claim=claim, enabled=True
    )
    if own.filter(claimed_until__gt=now).update(claimed_until=now + LEASE) != 1:
        return None
    found: Channel | None = own.first()
    return found


def _next_batch(channel: Channel) -> list[Delivery]:
    """Return the oldest delivery that is due; with a digest, all that are not urgent come together."""
    now = timezone.now()
    rows = Delivery.objects.filter(channel=channel, state=DeliveryState.DUE, next_at__lte=now)
    rows = rows.select_related("notification__person", "notification__server", "notification__domain")
    rows = rows.order_by("next_at", "created_at", "pk")
    head = list(rows[:1])
    if channel.digest == Digest.OFF or not head or head[0].notification.is_urgent:
        return head
    return list(rows.filter(notification__is_urgent=False)[:DIGEST_MAX])


def _tell(channel: Channel, batch: list[Delivery]) -> bool:
    """Make one attempt and write down how it went; returns whether the channel took it."""
    if not connection.in_atomic_block:
        connection.close()  # a slow receiver must not hold a connection to the database
    started, error = time.monotonic(), None
    try:
        sent = TRANSPORTS[channel.kind](channel, [delivery.notification for delivery in batch])
    except SendError as failed:
        sent, error = failed.sent, failed
    except Exception as failed:
        log.exception("delivery_crashed", extra={"channel": str(channel.pk)})
        sent, error = Sent(request=""), SendError(f"Lumos could not send this: {type(failed).__name__}.")
    duration_ms = int((time.monotonic() - started) * 1000)
    with transaction.atomic():
        if Channel.objects.select_for_update(no_key=True).filter(pk=channel.pk).first() is None:
            return False  # it was removed meanwhile, with its log
        for delivery in batch:
            _log_attempt(delivery, sent, error, duration_ms)
            _advance(delivery, error)
        if error is None:
            failures.forget(channel)
        else:
            failures.note(channel, error)
    return error is None


def _log_attempt(delivery: Delivery, sent: Sent, error: SendError | None, duration_ms: int) -> None:
    Attempt(
        delivery=delivery, duration_ms=duration_ms, status=sent.status, request=kept(sent.request),
        response=kept(sent.response), error=kept(error.detail)[:300] if error else "",
    ).save()  # fmt: skip


def _advance(delivery: Delivery, error: SendError | None) -> None:
    now = timezone.now()
    delivery.tries += 1
    if error is None:
        delivery.state, delivery.delivered_at, delivery.reason = DeliveryState.DELIVERED, now, ""
    else:
        delivery.reason = error.detail[:300]
        delivery.next_at = now + retry_after(delivery.tries, error.retry_seconds)
        if error.is_permanent or error.is_gone or delivery.next_at > delivery.expires_at:
            delivery.state = DeliveryState.FAILED
    delivery.save(update_fields=["state", "tries", "next_at", "delivered_at", "reason"])


def retry_after(tries: int, asked_seconds: float = 0.0) -> timedelta:
    """Return how long to wait after a failed try: longer each time, with a fifth of jitter, or as long as was asked."""
    step = _STEPS_SECONDS[min(tries, len(_STEPS_SECONDS)) - 1]
    wait = step * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
    return timedelta(seconds=max(wait, min(asked_seconds, 3600.0)))
