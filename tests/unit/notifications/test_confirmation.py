"""Addresses outside the account are told nothing before they have agreed."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import User
from notifications.confirmation import ASKED_A_DAY, token
from notifications.kinds import Kind
from notifications.models import Channel
from notifications.outbox import record
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def done(django_capture_on_commit_callbacks: Any) -> Any:
    """Return what runs the jobs of a block."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def add_mail(api: Api, target: str, name: str = "ops") -> Any:
    return api.post("/notification-channels", {"kind": "email", "name": name, "target": target})


def happen(tenant: Tenant, key: str) -> None:
    with tenant.scope:
        record(Kind.SERVER_ERROR, key=key, title=key)


def test_stranger_agrees_by_a_post(api: Api, alice: Tenant, deliver: Any, done: Any) -> None:
    with done():
        channel = add_mail(api, "ops@elsewhere.example").json()
    assert channel["confirmed_at"] is None
    [asked] = mail.outbox
    assert asked.to == ["ops@elsewhere.example"]
    found = re.search(r"https?://[^/]+(/notifications/confirm/\S+)", str(asked.body))
    assert found is not None
    happen(alice, "before")
    deliver()
    assert [sent.to for sent in mail.outbox[1:]] == [["alice@example.com"]]
    assert api.post(f"/notification-channels/{channel['id']}/test").status_code == 409
    visitor = Client()
    assert "Shall ops@elsewhere.example get" in visitor.get(found[1]).content.decode()
    assert Channel.unscoped.get(pk=channel["id"]).confirmed_at is None
    assert "gets the notifications" in visitor.post(found[1]).content.decode()
    happen(alice, "after")
    deliver()
    assert sorted(sent.to[0] for sent in mail.outbox[2:]) == ["alice@example.com", "ops@elsewhere.example"]


def test_people_of_the_account_need_not_agree(api: Api, alice: Tenant, bob: User, done: Any) -> None:
    with done():
        assert add_mail(api, "Bob@example.com").json()["confirmed_at"] is not None
    assert mail.outbox == []


def test_links_name_address_and_end(api: Api, alice: Tenant, mallory: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    pk = add_mail(api, "ops@elsewhere.example").json()["id"]
    channel = Channel.unscoped.get(pk=pk)
    old = token(channel)
    api.patch(f"/notification-channels/{pk}", {"target": "other@elsewhere.example"})
    assert Client().post(f"/notifications/confirm/{old}").status_code == 400
    assert Client().post("/notifications/confirm/nonsense").status_code == 400
    channel.refresh_from_db()
    link = f"/notifications/confirm/{token(channel)}"
    monkeypatch.setattr("notifications.confirmation.VALID", timedelta(seconds=-1))
    assert Client().post(link).status_code == 400
    channel.refresh_from_db()
    assert channel.confirmed_at is None


def test_nobody_is_flooded_with_questions(api: Api, alice: Tenant, done: Any) -> None:
    with done():
        pk = add_mail(api, "ops@elsewhere.example").json()["id"]
        assert api.post(f"/notification-channels/{pk}/ask").status_code == 409
        Channel.unscoped.update(asked_at=timezone.now() - timedelta(minutes=11))
        assert api.post(f"/notification-channels/{pk}/ask").status_code == 200
        answers = []
        for number in range(ASKED_A_DAY):
            made = add_mail(api, f"ops{number}@elsewhere.example", f"mail {number}")
            answers.append(made.status_code)
            if made.status_code == 201:
                api.delete(f"/notification-channels/{made.json()['id']}")
    assert answers[-1] == 409
    assert len(mail.outbox) <= ASKED_A_DAY
