"""E-mail addresses outside the account: nothing is sent there before somebody there has agreed."""

import uuid
from datetime import timedelta
from typing import NamedTuple

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.models import Account, AuditEntry, Membership
from accounts.tenancy import active_account_id, tenant_scope
from lumos.errors import InvalidInput, LimitReached
from notifications.models import Channel, ChannelKind
from notifications.outbox import enqueue_on_commit

_SALT = "notifications.confirmation"
VALID = timedelta(days=7)
ASKED_AGAIN = timedelta(minutes=10)
ASKED_A_DAY = 30


class Wish(NamedTuple):
    """What somebody is asked to agree to."""

    channel: Channel
    account: str


def needs(channel: Channel) -> bool:
    """Whether a channel's address still has to agree; verified addresses of the account's people need not."""
    if channel.kind != ChannelKind.EMAIL or channel.is_default or channel.confirmed_at is not None:
        return False
    people = Membership.objects.filter(account=active_account_id()).values("user")
    return not EmailAddress.objects.filter(user__in=people, email__iexact=channel.target, verified=True).exists()


def ask(channel: Channel) -> None:
    """Settle whether an address agrees: at once, or by a mail with a link. In the caller's transaction.

    Raises:
        LimitReached: this address, or too many, were asked lately.
    """
    now = timezone.now()
    if channel.kind != ChannelKind.EMAIL or channel.is_default:
        return
    if not needs(channel):
        channel.confirmed_at = channel.confirmed_at or now
        channel.save(update_fields=["confirmed_at"])
        return
    if channel.asked_at is not None and channel.asked_at > now - ASKED_AGAIN:
        raise LimitReached(f"{channel.target} was asked a moment ago; wait ten minutes.")
    asked = AuditEntry.objects.filter(action=audit.Action.CHANNEL_ASKED, created_at__gt=now - timedelta(days=1))
    if asked.count() >= ASKED_A_DAY:
        raise LimitReached("This account has asked many addresses today; go on tomorrow.")
    channel.asked_at = now
    channel.save(update_fields=["asked_at"])
    audit.record(None, audit.Action.CHANNEL_ASKED, channel, {"target": [None, channel.target]})
    enqueue_on_commit("notifications.tasks.ask_to_confirm", str(channel.account_id), str(channel.pk))


def token(channel: Channel) -> str:
    """Return what the link names: the channel, and the address that may agree."""
    return signing.dumps([str(channel.pk), channel.target], salt=_SALT)


def send_question(channel_id: uuid.UUID) -> None:
    """Send the mail with the link."""
    channel = Channel.objects.filter(pk=channel_id).first()
    if channel is None or not needs(channel):
        return
    account = Account.objects.values_list("name", flat=True).get(pk=channel.account_id)
    link = settings.PUBLIC_URL + reverse("channel-confirm", args=[token(channel)])
    text = render_to_string("notifications/confirm.txt", {"account": account, "link": link, "days": VALID.days})
    EmailMessage(f"[Lumos] Notifications of {account}"[:200], text, to=[channel.target]).send()


def wish(text: str) -> Wish:
    """Return what a link asks for.

    Raises:
        InvalidInput: the link is not valid (any more).
    """
    try:
        pk, target = signing.loads(text, salt=_SALT, max_age=VALID)
    except signing.BadSignature as error:
        raise InvalidInput("This link is not valid any more. Ask for another one.") from error
    found = Channel.unscoped.select_related("account").filter(pk=pk, target=target).first()
    if found is None:
        raise InvalidInput("These notifications are not wanted any more; there is nothing to do.")
    return Wish(found, found.account.name)


@transaction.atomic
def agree(text: str) -> Wish:
    """Let the address of a link be told from now on.

    Raises:
        InvalidInput: the link is not valid (any more).
    """
    found = wish(text)
    with tenant_scope(found.channel.account_id):
        if Channel.objects.filter(pk=found.channel.pk, confirmed_at=None).update(confirmed_at=timezone.now()):
            audit.record(None, audit.Action.CHANNEL_CONFIRMED, found.channel)
    return found
