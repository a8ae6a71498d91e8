"""Stored secrets: encrypted, rotated without a gap, and never shown by accident."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import decrypt, encrypt
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


def test_former_installations_keys_still_open(settings: Any) -> None:
    settings.SECRETS_KEYS, settings.SECRET_KEY = [], "first"
    secret = Secret.of("kept")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "second", ["first"]
    assert secret.reveal() == "kept"
    assert Secret.of("new").reveal() == "new"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(SecretUnreadable):
        secret.reveal()


@pytest.mark.django_db
def test_second_factors_are_rotated_too(alice: Tenant, settings: Any) -> None:
    settings.SECRETS_KEYS = [OLD]
    kinds = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}
    for kind, name in kinds.items():
        data = {name: encrypt("JBSWY3DPEHPK3PXP"), "used_mask": 0}
        Authenticator.objects.create(user=alice.owner, type=kind, data=data)
    Authenticator.objects.create(user=alice.owner, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})
    settings.SECRETS_KEYS = [NEW, OLD]
    call_command("rotate_secrets")
    settings.SECRETS_KEYS = [NEW]
    for kind, name in kinds.items():
        data = Authenticator.objects.get(type=kind).data
        assert (decrypt(data[name]), data["used_mask"]) == ("JBSWY3DPEHPK3PXP", 0)


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
