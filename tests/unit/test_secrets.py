"""Stored secrets: encrypted, rotated without a gap, and never shown by accident."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection

from lumos.secrets import Secret, SecretUnreadable
from lumos.settings import env
from notifications.models import Channel
from tests.factories import Tenant

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_what_is_stored_says_nothing() -> None:
    secret = Secret.of("hunter2")
    assert "hunter2" not in f"{secret!r} {secret} {secret.token}"
    assert secret.reveal() == "hunter2"
    assert Secret.of("hunter2").token != secret.token


def test_without_keys_of_its_own_the_installations_key_is_used(settings: Any) -> None:
    settings.SECRETS_KEYS = []
    secret = Secret.of("first")
    settings.SECRETS_KEYS = [NEW]
    assert secret.reveal() == "first"
    settings.SECRET_KEY = "another"
    with pytest.raises(SecretUnreadable, match="SECRETS_KEYS"):
        secret.reveal()


@pytest.mark.django_db
def test_rotation_leaves_no_row_with_the_old_key(alice: Tenant, settings: Any) -> None:
    settings.SECRETS_KEYS = [OLD]
    with alice.scope:
        for name in ("one", "two"):
            values: dict[str, Any] = {"secret": Secret.of(name), "previous_secret": Secret.of(f"old {name}")}
            Channel(kind="webhook", name=name, **values).save()
        Channel(kind="email", name="mail").save()
    settings.SECRETS_KEYS = [NEW, OLD]
    call_command("rotate_secrets")
    call_command("rotate_secrets")
    settings.SECRETS_KEYS = [NEW]
    found = {row.name: row for row in Channel.unscoped.filter(kind="webhook")}
    assert {name: (row.secret.reveal(), row.previous_secret.reveal()) for name, row in found.items()} == {
        "one": ("one", "old one"),
        "two": ("two", "old two"),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM notifications_channel WHERE secret IS NOT NULL")
        for (token,) in cursor.fetchall():
            Fernet(NEW).decrypt(token.encode())


@pytest.mark.django_db
def test_plain_text_cannot_be_stored(alice: Tenant) -> None:
    with alice.scope, pytest.raises(TypeError):
        Channel(kind="webhook", name="hook", secret="plain").save()


@pytest.mark.parametrize(
    "value", ["short", f"{OLD},short", OLD[:-4], "ä" * 44], ids=["short", "one of two", "cut", "umlauts"]
)
def test_malformed_keys_stop_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SECRETS_KEYS", value)
    with pytest.raises(ImproperlyConfigured, match="SECRETS_KEYS: key"):
        env.fernet_keys("SECRETS_KEYS")


def test_keys_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_KEYS", f"{NEW}, {OLD}")
    assert env.fernet_keys("SECRETS_KEYS") == [NEW, OLD]
