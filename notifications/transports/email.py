"""E-mail, as text and HTML. One mail may tell of several notifications (a digest)."""

import smtplib
from collections.abc import Sequence
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from accounts.models import Account, Membership, Role
from notifications.models import Channel, Notification
from notifications.transports import SendError, Sent, kept


def mail_parts(account: str, rows: Sequence[Notification]) -> tuple[str, str, str]:
    """Return subject, text and HTML of a mail about notifications, the newest last."""
    first = rows[0]
    subject = first.title if len(rows) == 1 else f"{len(rows)} notifications: {first.title}, …"
    context: dict[str, Any] = {
        "account": account, "rows": rows, "subject": subject, "url": settings.PUBLIC_URL,
    }  # fmt: skip
    text = render_to_string("notifications/mail.txt", context)
    html = render_to_string("notifications/mail.html", context)
    return f"[Lumos] {subject}"[:200], text, html


def recipients(channel: Channel, rows: Sequence[Notification]) -> list[str]:
    """Return who gets the mail: a sign-in on the default channel concerns its person, all else owners and admins."""
    if not channel.is_default:
        return [channel.target]
    if rows[0].person is not None:
        return [rows[0].person.email]
    people = Membership.objects.filter(account=channel.account_id, role__in=(Role.OWNER, Role.ADMIN))
    verified = EmailAddress.objects.filter(verified=True, primary=True, user__in=people.values("user"))
    return sorted(verified.values_list("email", flat=True))


def send(channel: Channel, rows: Sequence[Notification]) -> Sent:
    """Hand a mail to the installation's relay.

    Raises:
        SendError: the relay did not take it.
    """
    to = recipients(channel, rows)
    account = Account.objects.values_list("name", flat=True).get(pk=channel.account_id)
    subject, text, html = mail_parts(account, rows)
    sent = Sent(request=kept(f"To: {', '.join(to)}\nSubject: {subject}\n\n{text}"))
    if not to:
        raise SendError("No owner or admin has a verified e-mail address.", sent=sent, is_permanent=True)
    mail = EmailMultiAlternatives(subject, text, to=to, headers={"Auto-Submitted": "auto-generated"})
    mail.attach_alternative(html, "text/html")
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused as error:
        said = "; ".join(f"{who}: {code} {what!r}" for who, (code, what) in error.recipients.items())
        is_permanent = all(code >= 500 for code, _ in error.recipients.values())
        raise SendError(f"The mail was refused: {said}"[:300], sent=sent, is_permanent=is_permanent) from error
    except (smtplib.SMTPException, OSError) as error:
        raise SendError(f"The mail relay could not take the mail: {error}"[:300], sent=sent) from error
    return sent
