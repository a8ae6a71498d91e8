"""Sign-ins from devices and networks that were not seen before."""

import hashlib
import ipaddress
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from accounts.selectors import active_membership
from accounts.tenancy import tenant_scope
from notifications import causes
from notifications.models import KnownDevice

_USER_AGENT_CHARACTERS = 200


def _network(address: str) -> str:
    """Return the network that a provider gives to one customer or place: /24, for IPv6 /48."""
    try:
        bits = 24 if ipaddress.ip_address(address).version == 4 else 48
        return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
    except ValueError:
        return address


@transaction.atomic
def note_sign_in(request: HttpRequest, user: User, **given: Any) -> None:
    """Remember where a person signs in from and tell of what is new; the first device of all is not.

    Receiver of allauth's `user_logged_in`.
    """
    address = request.META.get("REMOTE_ADDR") or "unknown"
    user_agent = request.headers.get("User-Agent", "unknown")[:_USER_AGENT_CHARACTERS].replace("\0", "")
    fingerprint = hashlib.sha256(f"{user.pk}\n{_network(address)}\n{user_agent}".encode()).hexdigest()
    devices = KnownDevice.objects.filter(user=user)
    is_first = not devices.exists()
    now = timezone.now()
    _, is_new = devices.update_or_create(user=user, fingerprint=fingerprint, defaults={"seen_at": now})
    membership = active_membership(user, None)
    if is_new and not is_first and membership is not None:
        with tenant_scope(membership.account_id):
            causes.signed_in(user, address=address, user_agent=user_agent)
