"""From sign-up to the first page, as a visitor does it."""

import re
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts.models import Membership, Role, User
from tests.factories import PASSWORD, person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_rate_limits_left_over() -> None:
    cache.clear()


def sign_up(client: Client, **changes: str) -> Any:
    data = {"email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD, "name": "New", **changes}
    return client.post("/auth/signup/", data)


def test_sign_up_verify_sign_in(client: Client) -> None:
    assert sign_up(client, company="Shop Ltd").status_code == 302
    membership = Membership.objects.select_related("account").get()
    assert (membership.account.name, membership.role) == ("Shop Ltd", Role.OWNER)
    credentials = {"login": "new@example.com", "password": PASSWORD}
    client.post("/auth/login/", credentials)
    assert client.get("/").status_code == 302
    link = re.search(r"http://\S+/(auth/confirm-email/\S+)", str(mail.outbox[0].body))
    assert link is not None
    client.post(f"/{link[1]}")
    client.post("/auth/login/", credentials)
    page = client.get("/")
    assert page.status_code == 200
    assert "First steps" in page.content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "nonsense"},
        {"password1": "short", "password2": "short"},
        {"name": ""},
        {"password2": "another one 12"},
    ],
)
def test_bad_sign_up_is_refused_with_a_message(client: Client, changes: dict[str, str]) -> None:
    answer = sign_up(client, **changes)
    assert answer.status_code == 200
    assert "invalid-feedback" in answer.content.decode() or "alert-danger" in answer.content.decode()
    assert not User.objects.exists()


def test_sign_up_does_not_tell_who_has_an_account(client: Client) -> None:
    person("taken")
    known, unknown = sign_up(client, email="taken@example.com"), sign_up(Client())
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert User.objects.filter(email="taken@example.com").count() == 1


def test_passwords_are_bcrypt_in_the_product() -> None:
    from lumos.settings import base

    assert base.PASSWORD_HASHERS[0].endswith("BCryptSHA256PasswordHasher")


def test_person_without_account_sees_why(client: Client, signed_in: Any) -> None:
    page = signed_in(person("alone")).get("/")
    assert page.status_code == 403
    assert "You belong to no account" in page.content.decode()
