"""Rate rules and the bot check through API and page: into snapshots, back again, and what is refused."""

from typing import Any

import pytest
from django.test import Client

from lumos_agent.guard import BotCheck, RateRule
from servers.snapshots import snapshot_of
from tests.conftest import Api
from tests.factories import Tenant
from waf.guards import guard_of

pytestmark = pytest.mark.django_db
LOGIN = {"id": "login", "requests": 5, "window_seconds": 600, "path": "/login", "methods": ["POST"], "statuses": "401"}


def path(tenant: Tenant) -> str:
    return f"/domains/{tenant.domain.pk}/guard"


def test_rules_reach_the_snapshot(api: Api, alice: Tenant) -> None:
    assert api.get(path(alice)).json()["bot_check"]["mode"] == "off"
    answer = api.patch(path(alice), {"rates": [LOGIN], "bot_check": {"mode": "always", "exempt_paths": ["/api"]}})
    assert answer.status_code == 200, answer.content
    assert answer.json()["rates"][0]["key"] == "address"
    assert api.patch(path(alice), {"bot_check": {"under_attack": True}}).status_code == 200
    with alice.scope:
        guard = snapshot_of(alice.server).domains[0].guard
    assert guard.rates == (
        RateRule(id="login", requests=5, window_seconds=600, path="/login", methods=("POST",), statuses="401"),
    )
    assert guard.bot_check == BotCheck(mode="always", under_attack=True, exempt_paths=("/api",))


def test_same_settings_change_nothing(api: Api, alice: Tenant) -> None:
    for _ in range(2):
        api.patch(path(alice), {"rates": [LOGIN]})
    alice.server.refresh_from_db()
    assert api.get(f"/servers/{alice.server.pk}").json()["revision"] == alice.server.revision
    assert len(api.get(f"/servers/{alice.server.pk}/snapshots").json()["results"]) == alice.server.revision


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rates": [{**LOGIN, "requests": 0}]}, "rates[0].requests"),
        ({"rates": [{**LOGIN, "window_seconds": 30}]}, "rates[0].window_seconds"),
        ({"rates": [{**LOGIN, "id": "No good"}]}, "rates[0].id"),
        ({"rates": [{**LOGIN, "path": "/a b"}]}, "rates[0].path"),
        ({"rates": [{**LOGIN, "key": "cookie"}]}, "rates[0]"),
        ({"rates": [LOGIN, LOGIN]}, ""),
        ({"bot_check": {"mode": "sometimes"}}, "bot_check.mode"),
        ({"bot_check": {"exempt_paths": [""]}}, "bot_check.exempt_paths[0]"),
        ({"other": 1}, ""),
    ],
)
def test_bad_settings_are_named(api: Api, alice: Tenant, body: dict[str, Any], field: str) -> None:
    answer = api.patch(path(alice), body)
    assert answer.status_code == 400, answer.content
    assert field in answer.content.decode()
    with alice.scope:
        assert not guard_of(alice.domain.pk).rates


def test_export_import_restore_and_clone_take_them_along(api: Api, alice: Tenant) -> None:
    api.patch(path(alice), {"rates": [LOGIN], "bot_check": {"mode": "suspicious"}})
    document = api.get("/config").json()
    assert document["domains"][0]["guard"]["rates"][0]["id"] == "login"
    api.patch(path(alice), {"rates": [], "bot_check": {"mode": "off"}})
    assert api.call("PUT", "/config", document).status_code == 200
    assert api.get(path(alice)).json()["rates"][0]["id"] == "login"
    assert api.post(f"/servers/{alice.server.pk}/snapshots/{alice.server.revision}/restore").status_code == 200
    assert api.get(path(alice)).json()["rates"] == []


def test_account_switch_reaches_every_server(api: Api, alice: Tenant, signed_in: Any) -> None:
    assert api.get("/under-attack").json() == {"under_attack": False}
    assert api.patch("/under-attack", {"under_attack": True}).json() == {"under_attack": True}
    with alice.scope:
        assert snapshot_of(alice.server).under_attack
    client: Client = signed_in(alice.owner)
    assert "every visitor of every domain" in client.get("/domains").content.decode()
    assert client.post("/under-attack", {"under_attack": "off"}).status_code == 302
    with alice.scope:
        assert not snapshot_of(alice.server).under_attack
    assert api.patch("/under-attack", {}).status_code == 400


def test_page_edits_rules_and_switch(alice: Tenant, signed_in: Any) -> None:
    client: Client = signed_in(alice.owner)
    page = f"/domains/{alice.domain.pk}/waf"
    form = {"id": "all", "requests": "90", "window_seconds": "60", "key": "address", "action": "limit"}
    assert client.post(f"{page}/rates", form).status_code == 302
    assert "two rate rules" in client.post(f"{page}/rates", form).content.decode()
    check = {
        "mode": "suspicious",
        "level": "high",
        "escalation": "auto",
        "exempt_paths": "/api\n/feed",
        "token_headers": "",
    }
    assert client.post(f"{page}/guard", check).status_code == 302
    assert client.post(f"{page}/guard", {"under_attack": "on"}).status_code == 302
    shown = client.get(page).content.decode()
    assert "90 in 60 s" in shown
    assert "everybody is checked" in shown
    with alice.scope:
        assert guard_of(alice.domain.pk).bot_check == BotCheck(
            mode="suspicious", level="high", under_attack=True, escalation="auto", exempt_paths=("/api", "/feed")
        )
    edit = f"{page}/rates/all"
    assert 'value="90"' in client.get(edit).content.decode()
    assert "A path begins with /" in client.post(edit, form | {"path": "x y"}).content.decode()
    changed = form | {"requests": "70", "methods": ["POST"], "header": "X-A"}
    assert client.post(edit, changed).status_code == 302
    with alice.scope:
        assert guard_of(alice.domain.pk).rates == (RateRule(id="all", requests=70, methods=("POST",), header="X-A"),)
    assert client.get(f"{page}/rates/none").status_code == 404
    assert client.post(f"{page}/rates/all/remove").status_code == 302
    assert "70 in 60 s" not in client.get(page).content.decode()
