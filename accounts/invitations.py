"""Invitations by e-mail: one token, one use, seven days."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts import audit, tenancy
from accounts.memberships import require_power
from accounts.models import Account, Invitation, Membership, User
from lumos.errors import Conflict, Forbidden, LimitReached

VALID_DAYS = 7
PENDING_MAX = 100


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def invite(*, account: Account, email: str, role: str, actor: User) -> Invitation:
    """Invite the owner of an address; inviting again sends a new link and ends the old one.

    Raises:
        Conflict: the person is a member already.
        Forbidden: the role is owner and the actor is not.
        LimitReached: too many invitations wait.
    """
    require_power(account, actor, role)
    email = email.lower()
    if Membership.objects.filter(account=account, user__email__iexact=email).exists():
        raise Conflict(f"{email} is a member already; change the role in the list of members.", field="email")
    Invitation.objects.filter(email=email).delete()
    if Invitation.objects.count() >= PENDING_MAX:
        raise LimitReached(f"{PENDING_MAX} invitations wait for an answer; withdraw some first.")
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(days=VALID_DAYS)
    row = Invitation(email=email, role=role, token_hash=_hash(token), invited_by=actor, expires_at=expires_at)
    row.save()
    audit.record(actor, audit.Action.MEMBER_INVITED, row, {"role": [None, role]})
    transaction.on_commit(lambda: _send(row, account, actor, token))
    return row


def _send(row: Invitation, account: Account, actor: User, token: str) -> None:
    context = {
        "invitation": row,
        "account": account,
        "actor": actor,
        "link": settings.PUBLIC_URL + reverse("invitation", args=[token]),
        "days": VALID_DAYS,
    }
    text = render_to_string("accounts/invitation.txt", context)
    send_mail(f"Join {account.name} on Lumos", text, settings.DEFAULT_FROM_EMAIL, [row.email])


@transaction.atomic
def withdraw(*, invitation: Invitation, actor: User) -> None:
    """End an invitation; its link is worth nothing from now on."""
    audit.record(actor, audit.Action.INVITATION_WITHDRAWN, invitation, {"role": [invitation.role, None]})
    invitation.delete()


def invitation_by_token(token: str) -> Invitation | None:
    """Return the invitation that a link names while it holds, of whatever account: the token proves the right to it."""
    rows: Any = Invitation.unscoped.select_related("account", "invited_by")
    row: Invitation | None = rows.filter(token_hash=_hash(token), expires_at__gt=timezone.now()).first()
    return row


def is_for(invitation: Invitation, user: User) -> bool:
    """Whether the person has proved to own the address that was invited."""
    return EmailAddress.objects.filter(user=user, email__iexact=invitation.email, verified=True).exists()


@transaction.atomic
def accept(*, token: str, user: User) -> Account:
    """Make the person a member and use the invitation up.

    Raises:
        Conflict: it was used, withdrawn or has expired.
        Forbidden: it is for another address.
    """
    found = invitation_by_token(token)
    row = found and Invitation.unscoped.select_for_update(of=("self",)).filter(pk=found.pk).first()
    if found is None or row is None:
        raise Conflict("This invitation was used, withdrawn or has expired. Ask for a new one.")
    if not is_for(row, user):
        raise Forbidden(f"This invitation is for {row.email}. Sign in with that address.")
    with tenancy.tenant_scope(row.account_id):
        Membership.objects.get_or_create(account=found.account, user=user, defaults={"role": row.role})
        audit.record(user, audit.Action.MEMBER_JOINED, user, {"role": [None, row.role]})
        row.delete()
    return found.account
