"""Signatures of webhooks: Standard Webhooks 1.0.0 (standardwebhooks.com), symmetric, version v1."""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    """Return a new secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; `timestamp` is in Unix seconds."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    mac = hmac.new(key, b"%b.%d.%b" % (message_id.encode(), timestamp, body), hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()
