"""Pages of channels, history and maintenance, as people use them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from notifications.kinds import Kind
from notifications.models import Channel, Delivery, MaintenanceWindow
from notifications.outbox import record
from tests.conftest import Api
from tests.factories import Tenant
from tests.unit.notifications.conftest import add_hook

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(alice: Tenant, signed_in: Any) -> Any:
    """Return alice's browser."""
    return signed_in(alice.owner)


def test_webhook_is_added_and_its_secret_shown_once(browser: Any, alice: Tenant) -> None:
    given = {"kind": "webhook", "name": "On call", "target": "https://hooks.example/in"}
    text = browser.post("/notifications/channels", given).content.decode()
    channel = Channel.unscoped.get(kind="webhook")
    assert channel.secret is not None
    secret = channel.secret.reveal()
    assert secret in text
    assert secret not in browser.get(f"/notifications/channels/{channel.pk}").content.decode()
    rotated = browser.post(f"/notifications/channels/{channel.pk}/rotate-secret").content.decode()
    assert secret not in rotated
    assert "whsec_" in rotated
    entries = json.dumps(list(AuditEntry.unscoped.values_list("action", "changes")))
    assert "channel.secret_rotated" in entries
    assert "whsec_" not in entries


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "webhook", "target": "http://a:b@hooks.example/"}, "user name and password"),
        ({"kind": "webhook", "target": "https://hooks.example:22/"}, "port"),
        ({"kind": "webhook", "target": "ftp://hooks.example/"}, "whole URL"),
        ({"kind": "email", "target": "nobody"}, "e-mail address"),
        ({"kind": "chat", "target": "https://hooks.example/"}, "Known are"),
    ],
)
def test_what_cannot_work_is_refused_at_its_field(browser: Any, given: dict[str, str], message: str) -> None:
    answered = browser.post("/notifications/channels", {"name": "x", **given})
    assert message in answered.content.decode()
    assert not Channel.unscoped.filter(is_default=False).exists()


def test_settings_are_changed_and_the_default_stays(browser: Any, api: Api, alice: Tenant) -> None:
    channel, _ = add_hook(api, "https://hooks.example/in")
    path = f"/notifications/channels/{channel.pk}"
    given = {"name": "Pager", "target": "https://hooks.example/new"}
    assert browser.post(path, given).status_code == 302
    channel.refresh_from_db()
    assert (channel.name, channel.target, channel.enabled) == ("Pager", "https://hooks.example/new", False)
    assert browser.post(f"{path}/remove").status_code == 302
    assert not Channel.unscoped.filter(pk=channel.pk).exists()
    browser.get("/notifications/channels")
    own = Channel.unscoped.get(is_default=True)
    assert api.delete(f"/notification-channels/{own.pk}").status_code == 409
    assert browser.post(f"/notifications/channels/{own.pk}", {"name": own.name, "digest": "hourly"}).status_code == 302
    own.refresh_from_db()
    assert (own.digest, own.enabled, own.target) == ("hourly", False, "")


@pytest.mark.parametrize(
    "body",
    [
        {"choices": {"nonsense": False}}, {"choices": {"test": False}}, {"choices": {"server_down": "maybe"}},
        {"digest": "daily"}, {"digest": "yearly"}, {"kind": "email"}, {"name": ""}, {"target": ""},
    ],
)  # fmt: skip
def test_api_refuses_what_makes_no_sense(api: Api, alice: Tenant, body: dict[str, Any]) -> None:
    channel, _ = add_hook(api, "https://hooks.example/in")
    answered = api.patch(f"/notification-channels/{channel.pk}", body)
    assert answered.status_code == 400
    assert answered["Content-Type"] == "application/problem+json"


def test_names_are_unique_and_channels_few(api: Api, alice: Tenant) -> None:
    add_hook(api, "https://hooks.example/in")
    body = {"kind": "webhook", "name": "hook", "target": "https://hooks.example/in"}
    assert api.post("/notification-channels", body).status_code == 409
    for number in range(19):
        add_hook(api, "https://hooks.example/in", f"hook {number}")
    refused = api.post("/notification-channels", {**body, "name": "one more"})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:lumos:problem:limit")


def test_windows_are_planned_and_ended(browser: Any, api: Api, alice: Tenant) -> None:
    start = timezone.now() + timedelta(hours=1)
    given = {
        "server": alice.server.pk, "domain": "", "starts_at": f"{start:%Y-%m-%dT%H:%M}",
        "ends_at": f"{start + timedelta(hours=2):%Y-%m-%dT%H:%M}", "note": "New kernel",
    }  # fmt: skip
    assert browser.post("/notifications/maintenance", given).status_code == 302
    window = MaintenanceWindow.unscoped.get()
    assert (window.server_id, window.starts_at.minute) == (alice.server.pk, start.minute)
    assert "New kernel" in browser.get("/notifications/maintenance").content.decode()
    assert browser.post(f"/notifications/maintenance/{window.pk}/remove").status_code == 302
    assert api.get("/maintenance-windows").json()["results"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"ends_at": "2099-01-01T00:00:00Z"}, "ends_at"),
        ({"domain": "own"}, "domain"),
        ({"server": "foreign"}, "server"),
        ({"starts_at": "soon"}, "starts_at"),
    ],
)
def test_windows_that_make_no_sense(
    api: Api, alice: Tenant, mallory: Tenant, change: dict[str, Any], field: str
) -> None:
    now = timezone.now()
    body: dict[str, Any] = {
        "server": str(alice.server.pk), "starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    ids = {"own": str(alice.domain.pk), "foreign": str(mallory.server.pk)}
    body |= {name: ids.get(value, value) for name, value in change.items()}
    answered = api.post("/maintenance-windows", body)
    assert answered.status_code == 400
    assert answered.json()["errors"][0]["field"] == field


def test_history_tells_why_and_costs_the_same_however_long(
    browser: Any, api: Api, alice: Tenant, deliver: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        with alice.scope:
            record(Kind.SERVER_DOWN, key=str(number), title=f"Down {number}", server=alice.server)
    deliver()
    with django_assert_max_num_queries(12):
        text = browser.get("/notifications?kind=server_down").content.decode()
    assert text.count("1 delivered") == 30
    assert "Nothing of this kind" in browser.get("/notifications?kind=new_login").content.decode()
    row = Delivery.unscoped.latest("created_at")
    page = browser.get(f"/notifications/{row.notification_id}").content.decode()
    assert "alice@example.com" in page
    assert len(api.get(f"/notification-deliveries?notification={row.notification_id}").json()["results"]) == 1
