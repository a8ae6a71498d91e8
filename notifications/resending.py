"""Telling again because somebody asked: test messages, and deliveries that failed."""

import uuid

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from lumos.errors import Conflict
from notifications import confirmation, outbox
from notifications.kinds import TRAITS, Kind
from notifications.models import Channel, Delivery, DeliveryState, Notification, RoutingState


@transaction.atomic
def send_test(*, channel: Channel, actor: User) -> Delivery:
    """Tell one channel a test message.

    Raises:
        Conflict: the channel is switched off.
    """
    _require_enabled(channel)
    title = "This is a test"
    text = f"{actor} asked for it on the page of the channel {channel.name}. Nothing happened."
    row = Notification(
        kind=Kind.TEST, key=f"test:{uuid.uuid4()}", title=title, text=text, is_urgent=TRAITS[Kind.TEST].is_urgent,
        state=RoutingState.ROUTED,
    )  # fmt: skip
    row.save()
    Channel.objects.filter(pk=channel.pk).update(rests_until=None)
    return outbox.deliver_to(row, channel)


@transaction.atomic
def resend(*, delivery: Delivery) -> Delivery:
    """Try a delivery again at once, with a day of retries; the receiver sees the same `webhook-id`.

    Raises:
        Conflict: the channel is switched off.
    """
    row: Delivery = Delivery.objects.select_for_update(of=("self",)).select_related("channel").get(pk=delivery.pk)
    _require_enabled(row.channel)
    now = timezone.now()
    row.state, row.tries, row.next_at, row.expires_at = DeliveryState.DUE, 0, now, now + outbox.LIFETIME
    row.save(update_fields=["state", "tries", "next_at", "expires_at"])
    Channel.objects.filter(pk=row.channel_id).update(rests_until=None)
    outbox.enqueue_on_commit("notifications.tasks.drain_channel", str(row.account_id), str(row.channel_id))
    return row


def _require_enabled(channel: Channel) -> None:
    if not channel.enabled:
        raise Conflict("The channel is switched off; switch it on first.")
    if confirmation.needs(channel):
        raise Conflict(f"{channel.target} has not agreed yet; the mail with the question has a link.")
