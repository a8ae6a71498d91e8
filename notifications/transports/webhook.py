"""Webhooks: JSON, signed as Standard Webhooks does; `webhook-id` is the same in every attempt."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from django.utils import timezone

from lumos.errors import AppError
from lumos.net import Posted, Reach, post
from notifications.models import Channel, Notification
from notifications.signing import signature
from notifications.transports import KEPT_CHARACTERS, SendError, Sent, kept

PORTS = frozenset({80, 443, 8080, 8443})
REACH = Reach(ports=PORTS, seconds=15.0, bytes_max=KEPT_CHARACTERS)
_GONE = 410


def payload(row: Notification) -> dict[str, Any]:
    """Return what a webhook says: `type`, `timestamp` (when it happened) and `data`."""
    about = {"id": str(row.pk), "account": str(row.account_id), "title": row.title, "text": row.text}
    at = row.created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": row.kind, "timestamp": at, "data": {**about, **row.data}}


def signed_headers(channel: Channel, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers; during a rotation there is a signature for the new and one for the previous secret."""
    secrets = [channel.secret]
    if channel.previous_secret is not None and channel.previous_until is not None and channel.previous_until > now:
        secrets.append(channel.previous_secret)
    timestamp = int(now.timestamp())
    signatures = [
        signature(secret.reveal(), message_id=message_id, timestamp=timestamp, body=body)
        for secret in secrets
        if secret is not None
    ]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def send(channel: Channel, rows: Sequence[Notification]) -> Sent:
    """Post one notification.

    Raises:
        SendError: no answer, or none with a status of 200 to 299.
    """
    [row] = rows
    body = json.dumps(payload(row), separators=(",", ":"), ensure_ascii=False).encode()
    headers = signed_headers(channel, f"msg_{row.pk.hex}", body, timezone.now())
    shown = "\n".join(f"{name}: {value}" for name, value in headers.items())
    request = kept(f"POST {channel.target}\n{shown}\n\n{body.decode()}")
    try:
        answer = post(channel.target, body=body, headers=headers, reach=REACH)
    except AppError as error:
        raise SendError(error.detail, sent=Sent(request=request)) from error
    sent = Sent(request=request, status=answer.status, response=kept(answer.body.decode(errors="replace")))
    if not 200 <= answer.status < 300:
        raise _refused(answer, sent)
    return sent


def _refused(answer: Posted, sent: Sent) -> SendError:
    detail = f"The receiver answered with status {answer.status}."
    if 300 <= answer.status < 400:
        detail += " Redirects are not followed; enter the URL that they lead to."
    is_gone = answer.status == _GONE
    return SendError(detail, sent=sent, is_gone=is_gone, retry_seconds=_retry_seconds(answer.retry_after))


def _retry_seconds(text: str) -> float:
    """Return what a Retry-After header asks for (RFC 9110, section 10.2.3), 0 if it says nothing."""
    if text.isascii() and text.isdigit():
        return float(text[:6])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(((at if at.tzinfo else at.replace(tzinfo=UTC)) - timezone.now()).total_seconds(), 0.0)
