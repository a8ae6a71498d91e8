"""Secrets that Lumos must be able to read again, encrypted in the database with keys from the environment.

SECRETS_KEYS names the keys, the newest first; all of them decrypt. Without it a key is derived from SECRET_KEY, which
goes on decrypting when SECRETS_KEYS is set later, as do SECRET_KEY_FALLBACKS. `manage.py rotate_secrets` brings all
rows to the newest key.
"""

import base64
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models


class SecretUnreadable(RuntimeError):
    """No key of the environment decrypts a row: the installation lost a key."""


def derived_box(secret: str, purpose: str) -> Fernet:
    """Return a box whose key comes from a long random text; `purpose` keeps uses apart."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"lumos {purpose}".encode()).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...], secret_keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([*map(Fernet, keys), *(derived_box(key, "secrets") for key in secret_keys)])


def _current() -> MultiFernet:
    return _box(tuple(settings.SECRETS_KEYS), (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


class Secret:
    """A text that shows itself only to `reveal()`."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    @classmethod
    def of(cls, text: str) -> "Secret":
        """Encrypt a text."""
        return cls(_current().encrypt(text.encode()).decode())

    def reveal(self) -> str:
        """Return the text.

        Raises:
            SecretUnreadable: it was encrypted with a key that is gone.
        """
        try:
            return _current().decrypt(self.token.encode()).decode()
        except InvalidToken as error:
            raise SecretUnreadable(
                "a stored secret fits no key; add the key that is missing to SECRETS_KEYS"
            ) from error

    def rotated(self) -> "Secret":
        """Return the same text, encrypted with the newest key."""
        try:
            return Secret(_current().rotate(self.token.encode()).decode())
        except InvalidToken as error:
            raise SecretUnreadable(
                "a stored secret fits no key; add the key that is missing to SECRETS_KEYS"
            ) from error

    def __repr__(self) -> str:
        return "Secret(…)"


class SecretField(models.TextField):  # type: ignore[type-arg]
    """A column of `Secret`s, or None."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Secret | None:
        """Wrap what the column holds; it is decrypted when it is revealed."""
        return None if value is None else Secret(value)

    def get_prep_value(self, value: Any) -> str | None:
        """Return what the column holds."""
        if value is not None and not isinstance(value, Secret):
            raise TypeError("a SecretField takes Secret.of(text)")
        return None if value is None else value.token
