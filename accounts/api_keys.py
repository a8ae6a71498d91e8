"""API keys: create, find, revoke."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import ApiKey, User
from billing import entitlements
from lumos.errors import InvalidInput

PREFIX = "lmsk_"
_USE_GRANULARITY = timedelta(minutes=1)


def key_hash(key: str) -> str:
    """Return the form in which a key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


@transaction.atomic
def create_api_key(*, name: str, scope: str, actor: User, expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """Create a key; the second item is the key itself, which is shown once and never kept."""
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("The expiry lies in the past; choose a later time or none.", field="expires_at")
    entitlements.require_api_keys()
    key = PREFIX + secrets.token_hex(32)
    row: ApiKey = ApiKey.objects.create(
        name=name, prefix=key[:12], key_hash=key_hash(key), scope=scope, created_by=actor, expires_at=expires_at
    )
    audit.record(actor, audit.Action.API_KEY_CREATED, row, {"name": [None, name], "scope": [None, scope]})
    return row, key


@transaction.atomic
def revoke_api_key(*, key: ApiKey, actor: User) -> None:
    """End a key at once."""
    audit.record(actor, audit.Action.API_KEY_REVOKED, key, {"name": [key.name, None]})
    key.delete()


def valid_key(key: str) -> ApiKey | None:
    """Return the row of a key that exists and has not expired, with its account and creator; notes the use."""
    if not key.startswith(PREFIX):
        return None
    row: ApiKey | None = ApiKey.unscoped.select_related("account", "created_by").filter(key_hash=key_hash(key)).first()
    now = timezone.now()
    if row is None or not row.created_by.is_active or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.last_used_at is None or row.last_used_at < now - _USE_GRANULARITY:
        ApiKey.unscoped.filter(pk=row.pk).update(last_used_at=now)
    return row
