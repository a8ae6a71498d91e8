"""Secrets that the control plane must be able to read, sealed with a key that is not in the database.

The key comes from SECRET_KEY; what former keys (SECRET_KEY_FALLBACKS) sealed can still be opened.
"""

import base64

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def _fernet(secret: str, purpose: bytes) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))


def _keys(purpose: str, also: str) -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([_fernet(secret + also, f"lumos {purpose}".encode()) for secret in secrets])


def seal(data: bytes, purpose: str, also: str = "") -> bytes:
    """Encrypt and authenticate; `purpose` keeps uses apart, `also` is a further secret needed to open it."""
    return _keys(purpose, also).encrypt(data)


def unseal(data: bytes, purpose: str, also: str = "") -> bytes:
    """Return what was sealed.

    Raises:
        cryptography.fernet.InvalidToken: another key or purpose, or changed data.
    """
    return _keys(purpose, also).decrypt(data)
