"""The only reader of the environment. A malformed value stops start-up with a message that names it."""

import base64
import binascii
import ipaddress
import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str | None = None) -> str:
    """Return the value of `name`, or the content of the file named by `name`_FILE, or `default`.

    Raises:
        ImproperlyConfigured: neither is set and there is no default, or the file cannot be read.
    """
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE={path}: {error.strerror}") from error
    if default is None:
        raise ImproperlyConfigured(f"set the environment variable {name} (or {name}_FILE, the path of a file with it)")
    return default


def flag(name: str, default: bool) -> bool:
    """Return a boolean: 1/true/yes/on or 0/false/no/off."""
    value = text(name, "on" if default else "off").lower()
    if value not in _TRUE | _FALSE:
        raise ImproperlyConfigured(f"{name}={value!r}: use on or off")
    return value in _TRUE


def number(name: str, default: int) -> int:
    """Return a whole number that is not negative."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit():
        raise ImproperlyConfigured(f"{name}={value!r}: use a whole number")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list without empty items."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def addresses(name: str) -> list[str]:
    """Return a comma-separated list of IP addresses; none when it is not set."""
    found = words(name)
    for word in found:
        try:
            ipaddress.ip_address(word)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {word!r} is no IP address") from error
    return found


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of `allowed`."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r}: use one of {', '.join(allowed)}")
    return value


def fernet_keys(name: str) -> list[str]:
    """Return a comma-separated list of keys for `cryptography.fernet.Fernet`; none when it is not set."""
    found = words(name)
    for number, key in enumerate(found, 1):
        try:
            is_key = len(base64.urlsafe_b64decode(key)) == 32
        except (ValueError, binascii.Error):
            is_key = False
        if not is_key:
            raise ImproperlyConfigured(f"{name}: key {number} is not 32 bytes in URL-safe base64 (44 characters)")
    return found
