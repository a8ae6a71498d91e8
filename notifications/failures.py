"""A channel that fails: it rests, longer each time; after days it is switched off and the others are told."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from notifications import causes
from notifications.models import Channel, Delivery, DeliveryState
from notifications.transports import SendError

RESTS_FROM = 3
REST_SECONDS_MAX = 300
DISABLED_AFTER = timedelta(days=5)
TRIES_BEFORE_DISABLED = 20


def note(channel: Channel, error: SendError) -> None:
    """Count a failed attempt, in the caller's transaction."""
    now = timezone.now()
    channel.failures += 1
    channel.failing_since = channel.failing_since or now
    if error.sent.status is None or channel.failures >= RESTS_FROM:
        seconds = min(5 * 2 ** min(channel.failures - 1, 10), REST_SECONDS_MAX)
        channel.rests_until = now + timedelta(seconds=seconds)
    if error.is_permanent:
        channel.rests_until = None
    channel.save(update_fields=["failures", "failing_since", "rests_until"])
    is_long = now - channel.failing_since >= DISABLED_AFTER and channel.failures >= TRIES_BEFORE_DISABLED
    if error.is_gone or is_long:
        disable(channel, error.detail)


def forget(channel: Channel) -> None:
    """Note that the channel works; after an outage everything that waits is due at once."""
    if channel.failures == 0:
        return
    if channel.failures >= RESTS_FROM:
        waiting = Delivery.objects.filter(channel=channel, state=DeliveryState.DUE, tries__gt=0)
        waiting.update(next_at=timezone.now())
    channel.failures, channel.failing_since, channel.rests_until = 0, None, None
    channel.save(update_fields=["failures", "failing_since", "rests_until"])


@transaction.atomic
def disable(channel: Channel, reason: str) -> None:
    """Switch a channel off that does not work; what waits is given up."""
    channel.enabled, channel.disabled_reason = False, reason[:300]
    channel.save(update_fields=["enabled", "disabled_reason"])
    Delivery.objects.filter(channel=channel, state=DeliveryState.DUE).update(
        state=DeliveryState.FAILED, reason="The channel was switched off."
    )
    audit.record(None, audit.Action.CHANNEL_DISABLED, channel, {"enabled": [True, False]})
    causes.channel_disabled(channel)
