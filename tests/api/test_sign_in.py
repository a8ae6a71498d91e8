"""Signing up and in, passwords, sessions: through the pages that people use."""

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import Account, Membership, User
from tests.factories import PASSWORD, Tenant, person

pytestmark = pytest.mark.django_db
NEW = "another long password"


def link(text: object) -> str:
    found = re.search(r"http://[^/]+(/\S+)", str(text))
    assert found is not None
    return found[1]


def new_address() -> str:
    """Return an address that was sent no link in the last minutes, by another test either."""
    return f"{uuid.uuid4().hex}@example.com"


def sign_in(email: str, password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/auth/login/", {"login": email, "password": password})
    return client


def is_in(client: Client) -> bool:
    return client.get("/servers").status_code == 200


def test_an_account_works_once_its_address_is_verified() -> None:
    client, email = Client(), new_address()
    form = {"email": email, "password1": NEW, "password2": NEW, "name": "New", "company": "New Ltd"}
    assert client.post("/auth/signup/", form).status_code == 302
    assert not is_in(sign_in(email, NEW))
    assert client.post(link(mail.outbox[0].body)).status_code == 302
    assert is_in(sign_in(email, NEW))
    assert Membership.objects.get(account=Account.objects.get(name="New Ltd")).role == "owner"


def test_signing_up_with_a_known_address_tells_nobody(alice: Tenant) -> None:
    form = {"email": "alice@example.com", "password1": NEW, "password2": NEW, "name": "A"}
    assert Client().post("/auth/signup/", form).status_code == 302
    assert User.objects.filter(email="alice@example.com").count() == 1
    assert mail.outbox[0].to == ["alice@example.com"]


def test_reset_works_once_and_within_an_hour(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = sign_in("alice@example.com")
    Client().post("/auth/password/reset/", {"email": "alice@example.com"})
    path = link(mail.outbox[0].body)

    late = datetime.now() + timedelta(seconds=3601)  # noqa: DTZ005 - as Django's generator counts
    with monkeypatch.context() as patched:
        patched.setattr("django.contrib.auth.tokens.PasswordResetTokenGenerator._now", lambda self: late)
        assert "bad" in Client().get(path, follow=True).content.decode().lower()

    client = Client()
    form_path = client.get(path).headers["location"]
    assert client.post(form_path, {"password1": NEW, "password2": NEW}).status_code == 302
    assert is_in(sign_in("alice@example.com", NEW))
    assert not is_in(stale)
    assert "bad" in Client().get(path, follow=True).content.decode().lower()


def test_a_new_password_ends_the_other_sessions_at_the_next_request(alice: Tenant) -> None:
    here, there = sign_in("alice@example.com"), sign_in("alice@example.com")
    assert is_in(here)
    assert is_in(there)
    form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    here.post("/auth/password/change/", form)
    assert is_in(here)
    assert not is_in(there)
    assert there.get("/api/v1/servers").status_code == 401


def test_a_session_is_listed_and_ended(alice: Tenant, mallory: Tenant) -> None:
    here, there = sign_in("alice@example.com"), sign_in("alice@example.com")
    assert is_in(there)
    assert here.get("/auth/sessions/").content.decode().count("Sign out</button>") == 1
    other = UserSession.objects.get(session_key=there.session.session_key)
    assert sign_in("mallory@example.com").post(f"/sessions/{other.pk}/end").status_code == 404
    assert Client().post(f"/sessions/{other.pk}/end").status_code == 302
    assert is_in(there)
    assert here.post(f"/sessions/{other.pk}/end").status_code == 302
    assert not is_in(there)
    assert is_in(here)


def test_passwords_are_kept_with_bcrypt(settings: Any) -> None:
    from lumos.settings import base

    settings.PASSWORD_HASHERS = base.PASSWORD_HASHERS
    assert person("bea").password.startswith("bcrypt_sha256$")


def test_people_switch_between_their_accounts_only(alice: Tenant, mallory: Tenant) -> None:
    Membership.objects.create(account=mallory.account, user=alice.owner, role="viewer")
    client = sign_in("alice@example.com")
    assert "alice-shield" in client.get("/servers").content.decode()
    assert client.post("/account/switch", {"account": str(mallory.account.pk)}).status_code == 302
    assert "mallory-shield" in client.get("/servers").content.decode()
    assert client.get("/servers/add").status_code == 403
    stranger = sign_in("mallory@example.com")
    assert stranger.post("/account/switch", {"account": str(alice.account.pk)}).status_code == 404


def test_an_unverified_address_resets_nothing_for_others() -> None:
    user = User.objects.create_user("eve@example.com", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=False, primary=True)
    assert not is_in(sign_in("eve@example.com"))
    assert user.date_joined <= timezone.now()
