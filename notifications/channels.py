"""Verbs on channels."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos.net import checked_url
from lumos.secrets import Secret
from notifications import confirmation
from notifications.kinds import OFFERED
from notifications.models import Channel, ChannelKind, Digest
from notifications.signing import new_secret
from notifications.transports import chat
from notifications.transports.webhook import PORTS

CHANNELS_MAX = 20
OVERLAP = timedelta(hours=24)
AUDITED = ("name", "target", "choices", "digest", "enabled")


def _checked(channel: Channel) -> None:
    """Refuse what cannot work, with what to do about it."""
    if channel.kind == ChannelKind.WEBHOOK:
        checked_url(channel.target, PORTS)
    if channel.kind == ChannelKind.EMAIL and not channel.is_default:
        try:
            validate_email(channel.target)
        except ValidationError as error:
            raise InvalidInput("Enter an e-mail address such as ops@example.com.", field="target") from error
    if channel.kind != ChannelKind.EMAIL and channel.digest != Digest.OFF:
        raise InvalidInput("Only e-mail channels have a digest.", field="digest")
    unknown = set(channel.choices) - set(OFFERED)
    if unknown or not all(isinstance(value, bool) for value in channel.choices.values()):
        named = ", ".join(sorted(unknown)) or "values"
        raise InvalidInput(f"{named}: give {{kind: true or false}} for {', '.join(OFFERED)}.", field="choices")


def _save_unique(channel: Channel) -> None:
    try:
        with transaction.atomic():
            channel.save()
    except IntegrityError as error:
        raise Conflict(f"A channel named “{channel.name}” exists already; choose another.", field="name") from error


@transaction.atomic
def add_channel(
    *,
    kind: str,
    name: str,
    target: str,
    actor: User,
    choices: Mapping[str, bool] | None = None,
    digest: str = Digest.OFF,
    enabled: bool = True,
) -> tuple[Channel, str]:
    """Add a channel; the second item is a webhook's secret, which is shown once.

    Raises:
        InvalidInput: the target cannot be told.
        LimitReached: the account has enough channels.
    """
    if Channel.objects.count() >= CHANNELS_MAX:
        raise LimitReached(f"This account has {CHANNELS_MAX} channels; remove one first.")
    channel = Channel(kind=kind, name=name, target=target, choices=dict(choices or {}), digest=digest, enabled=enabled)
    secret = ""
    if kind == ChannelKind.CHAT:
        channel.target, whole = chat.parsed(target)
        channel.secret = Secret.of(whole)
    if kind == ChannelKind.WEBHOOK:
        secret = new_secret()
        channel.secret = Secret.of(secret)
    _checked(channel)
    _save_unique(channel)
    after = {field: getattr(channel, field) for field in AUDITED}
    audit.record(actor, audit.Action.CHANNEL_ADDED, channel, audit.changes({}, after))
    confirmation.ask(channel)
    return channel, secret


@transaction.atomic
def change_channel(*, channel: Channel, actor: User, **values: Any) -> Channel:
    """Change name, target, choices, digest, or switch it on or off. Switched on, it starts without a past."""
    row: Channel = Channel.objects.select_for_update().get(pk=channel.pk)
    before = {field: getattr(row, field) for field in AUDITED}
    if row.is_default or (row.kind == ChannelKind.CHAT and values.get("target") == row.target):
        values.pop("target", None)
    if row.kind == ChannelKind.CHAT and "target" in values:
        values["target"], whole = chat.parsed(values["target"])
        row.secret = Secret.of(whole)
    for field, value in values.items():
        setattr(row, field, value)
    _checked(row)
    changed = audit.changes(before, {field: getattr(row, field) for field in AUDITED})
    if "enabled" in changed or "target" in changed:
        row.disabled_reason, row.failures, row.failing_since, row.rests_until = "", 0, None, None
    if changed:
        if "target" in changed:
            row.confirmed_at = row.asked_at = None
        _save_unique(row)
        audit.record(actor, audit.Action.CHANNEL_CHANGED, row, changed)
    if "target" in changed:
        confirmation.ask(row)
    return row


@transaction.atomic
def rotate_secret(*, channel: Channel, actor: User) -> str:
    """Return a new secret, shown once; for a day every webhook is signed with the previous one as well.

    Raises:
        Conflict: it is no webhook.
    """
    row: Channel = Channel.objects.select_for_update().get(pk=channel.pk)
    if row.kind != ChannelKind.WEBHOOK:
        raise Conflict("Only webhooks have a secret.")
    secret = new_secret()
    row.previous_secret, row.previous_until = row.secret, timezone.now() + OVERLAP
    row.secret = Secret.of(secret)
    row.save(update_fields=["secret", "previous_secret", "previous_until"])
    audit.record(actor, audit.Action.CHANNEL_SECRET_ROTATED, row)
    return secret


@transaction.atomic
def remove_channel(*, channel: Channel, actor: User) -> None:
    """Remove a channel with its log.

    Raises:
        Conflict: it is the account's own; it can only be switched off.
    """
    if channel.is_default:
        raise Conflict("This channel belongs to the account; switch it off instead.")
    audit.record(actor, audit.Action.CHANNEL_REMOVED, channel, {"name": [channel.name, None]})
    channel.delete()
