"""From a cause to a mail: written with its cause, routed, told, shown; and what is not told."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.utils import timezone

from accounts.models import Role
from lumos_agent import protocol
from notifications import outbox
from notifications.kinds import Kind
from notifications.models import Channel, Delivery, MaintenanceWindow, Notification
from notifications.outbox import record, route_due
from servers import revisions, sessions
from servers.models import epoch
from tests import factories
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def fail(tenant: Tenant, stage: Any = "check", message: str = "line 3: unknown keyword") -> None:
    """Let a tenant's shield refuse its configuration."""
    report = protocol.Failed(
        epoch=epoch(), revision=tenant.server.revision, digest="0" * 64, stage=stage, message=message, rolled_back=True
    )
    with tenant.scope:
        revisions.record_failed(server_id=tenant.server.pk, report=report)


def test_failure_becomes_a_mail_to_owners_and_admins(alice: Tenant, bob: Any, deliver: Any, api: Api) -> None:
    factories.member(alice.account, "carol", Role.ADMIN)
    fail(alice)
    deliver()
    [sent] = mail.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    assert sent.to == ["alice@example.com", "carol@example.com"]
    assert sent.subject == "[Lumos] alice-shield refused its configuration"
    assert "line 3: unknown keyword" in sent.body
    [(html, kind)] = sent.alternatives
    assert kind == "text/html"
    assert "line 3: unknown keyword" in str(html)
    [found] = api.get("/notifications").json()["results"]
    assert (found["kind"], found["state"], found["data"]["reason"]) == (
        "server_error",
        "routed",
        "config_update_failed",
    )
    [delivery] = api.get("/notification-deliveries?state=delivered").json()["results"]
    [attempt] = api.get(f"/notification-deliveries/{delivery['id']}").json()["attempts"]
    assert "alice@example.com" in attempt["request"]
    deliver()
    assert len(mail.outbox) == 1


def test_cause_that_is_rolled_back_tells_nobody(alice: Tenant) -> None:
    with alice.scope, transaction.atomic():
        record(Kind.SERVER_ERROR, key="k", title="t")
        transaction.set_rollback(True)
    assert not Notification.unscoped.exists()


def test_words_of_a_daemon_may_have_any_character(alice: Tenant) -> None:
    fail(alice, message="line\0 3 \x1b[31m \ud83d".encode("utf-8", "replace").decode())
    assert Notification.unscoped.get().data["message"] == "line 3 \x1b[31m ?"


def test_same_cause_is_told_once_in_its_quiet_time(alice: Tenant) -> None:
    for _ in range(3):
        fail(alice)
    fail(alice, stage="reload")
    rows = dict(Notification.unscoped.values_list("data__reason", "repeats"))
    assert rows == {"config_update_failed": 2, "haproxy_reload_failed": 0}
    Notification.unscoped.update(created_at=timezone.now() - timedelta(minutes=11))
    fail(alice)
    assert Notification.unscoped.count() == 3


def test_crash_of_haproxy_is_told(alice: Tenant) -> None:
    sessions.record_news(
        alice.account.pk, alice.server.pk, protocol.Incident(kind="haproxy_crash", message="signal 11")
    )
    sessions.record_news(alice.account.pk, alice.server.pk, protocol.Incident(kind="repaired", message="mended"))
    [row] = Notification.unscoped.all()
    assert (row.title, row.text) == ("HAProxy crashed on alice-shield", "signal 11")


def test_failure_of_the_waf_is_told(alice: Tenant) -> None:
    failed = protocol.Incident(kind="waf_failed", message="waf.lua:832: attempt to call a nil value")
    sessions.record_news(alice.account.pk, alice.server.pk, failed)
    [row] = Notification.unscoped.all()
    assert row.title == "The WAF of alice-shield fails"
    assert row.text.endswith("attempt to call a nil value")


@pytest.mark.parametrize(("of", "is_told"), [("server", False), ("everything", False), ("domain", True)])
def test_maintenance_silences(alice: Tenant, deliver: Any, of: str, is_told: bool) -> None:
    now = timezone.now()
    things: dict[str, dict[str, Any]] = {"server": {"server": alice.server}, "domain": {"domain": alice.domain}}
    with alice.scope:
        MaintenanceWindow(
            starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1), **things.get(of, {})
        ).save()
        record(Kind.NEW_LOGIN, key="login", title="Signed in", person=alice.owner)
    fail(alice)
    deliver()
    assert len(mail.outbox) == 1 + is_told
    assert Notification.unscoped.get(kind="server_error").state == ("routed" if is_told else "silenced")


def test_what_a_channel_does_not_want_is_not_told(alice: Tenant, deliver: Any, api: Api, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    assert client.get("/notifications/channels").status_code == 200
    [channel] = api.get("/notification-channels").json()["results"]
    wanted = [f"{channel['id']}/{kind}" for kind in Kind.values if kind != "server_error"]
    client.post("/notifications/channels/matrix", {"channel": channel["id"], "on": wanted})
    assert api.get(f"/notification-channels/{channel['id']}").json()["choices"] == {"server_error": False}
    fail(alice)
    deliver()
    assert mail.outbox == []
    assert not Delivery.unscoped.exists()


def test_a_sign_in_is_told_to_its_person(alice: Tenant, bob: Any, deliver: Any) -> None:
    with alice.scope:
        record(Kind.NEW_LOGIN, key="login", title="Signed in", person=bob)
    deliver()
    assert [sent.to for sent in mail.outbox] == [["bob@example.com"]]


def test_digest_waits_and_tells_all_at_once(alice: Tenant, deliver: Any, api: Api) -> None:
    with alice.scope:
        record(Kind.SSL_RENEWED, key="first", title="First", is_urgent=True)
    deliver()
    [channel] = api.get("/notification-channels").json()["results"]
    assert api.patch(f"/notification-channels/{channel['id']}", {"digest": "daily"}).status_code == 200
    with alice.scope:
        for number in range(3):
            record(Kind.SSL_RENEWED, key=f"renewed {number}", title=f"Renewed {number}")
        record(Kind.SERVER_DOWN, key="down", title="Down")
    deliver()
    assert [sent.subject for sent in mail.outbox] == ["[Lumos] First", "[Lumos] Down"]
    assert all(row.next_at > timezone.now() for row in Delivery.unscoped.filter(state="due"))
    Delivery.unscoped.filter(state="due").update(next_at=timezone.now())
    deliver()
    assert mail.outbox[2].subject == "[Lumos] 3 notifications: Renewed 0, …"
    assert all(f"Renewed {number}" in mail.outbox[2].body for number in range(3))
    assert not Delivery.unscoped.exclude(state="delivered").exists()


def test_router_makes_each_delivery_once(alice: Tenant) -> None:
    fail(alice)
    assert (route_due(), route_due()) == (1, 0)
    Notification.unscoped.update(state="due")
    route_due()
    assert (Delivery.unscoped.count(), Channel.unscoped.count()) == (1, 1)


def test_one_tenants_failure_does_not_stop_the_others(
    alice: Tenant, mallory: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(mallory)
    fail(alice)
    make = outbox.deliver_to

    def broken(row: Notification, channel: Channel) -> Delivery:
        if row.account_id == mallory.account.pk:
            raise RuntimeError
        return make(row, channel)

    monkeypatch.setattr(outbox, "deliver_to", broken)
    assert route_due() == 1
    assert Delivery.unscoped.get().account_id == alice.account.pk
    monkeypatch.setattr(outbox, "deliver_to", make)
    assert route_due() == 1


def test_what_waited_longer_than_a_day_is_not_sent_any_more(alice: Tenant, deliver: Any, api: Api) -> None:
    fail(alice)
    route_due()
    channel = Channel.unscoped.get()
    api.patch(f"/notification-channels/{channel.pk}", {"enabled": False})
    Delivery.unscoped.update(expires_at=timezone.now() - timedelta(hours=1))
    deliver()
    api.patch(f"/notification-channels/{channel.pk}", {"enabled": True})
    deliver()
    assert mail.outbox == []
    assert Delivery.unscoped.get().state == "failed"
