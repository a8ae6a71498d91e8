"""Flood protection through API and page; what reaches the snapshot."""

from typing import Any

import pytest

from lumos_agent.flood import FloodLimits
from servers.snapshots import snapshot_of
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def test_limits_reach_the_snapshot_and_the_accounts_servers_are_spared(api: Api, alice: Tenant) -> None:
    path = f"/servers/{alice.server.pk}/flood-protection"
    assert api.get(path).json() == {"connections": 0, "new_per_second": 0, "bans": False}
    with alice.scope:
        alice.server.public_ipv4, alice.server.public_ipv6 = "203.0.113.7", "2001:db8::7"
        alice.server.save()
        assert snapshot_of(alice.server).flood == FloodLimits()
        revision = alice.server.revision
    assert api.patch(path, {"connections": 200, "bans": True}).json()["connections"] == 200
    assert api.patch(path, {"bans": True}).status_code == 200
    with alice.scope:
        alice.server.refresh_from_db()
        assert alice.server.revision == revision + 1
        spared = ("2001:db8::7/128", "203.0.113.7/32")
        assert snapshot_of(alice.server).flood == FloodLimits(connections=200, bans=True, spared=spared)


@pytest.mark.parametrize("body", [{"connections": 3}, {"new_per_second": 1}, {"connections": -1}, {"bans": "perhaps"}])
def test_limits_that_would_hit_visitors_are_refused(api: Api, alice: Tenant, body: dict[str, Any]) -> None:
    path = f"/servers/{alice.server.pk}/flood-protection"
    answer = api.patch(path, body)
    assert answer.status_code in (400, 422), answer.content
    assert next(iter(body)) in answer.content.decode()
    assert api.get(path).json() == {"connections": 0, "new_per_second": 0, "bans": False}


def test_roll_back_sets_them_back(api: Api, alice: Tenant) -> None:
    path = f"/servers/{alice.server.pk}/flood-protection"
    api.patch(path, {"connections": 200})
    with alice.scope:
        alice.server.refresh_from_db()
        revision = alice.server.revision
    api.patch(path, {"connections": 0, "bans": True})
    restored = api.post(f"/servers/{alice.server.pk}/snapshots/{revision}/restore").json()
    assert restored["revision"] == revision + 2
    assert api.get(path).json() == {"connections": 200, "new_per_second": 0, "bans": False}


def test_page_changes_them_and_says_what_is_wrong(alice: Tenant, signed_in: Any) -> None:
    browser, path = signed_in(alice.owner), f"/servers/{alice.server.pk}/flood-protection"
    wrong = browser.post(path, {"connections": 1, "new_per_second": 0})
    assert "Ordinary browsers need more" in wrong.content.decode()
    assert browser.post(path, {"connections": 200, "new_per_second": 0, "bans": "on"}).status_code == 302
    with alice.scope:
        alice.server.refresh_from_db()
        assert (alice.server.flood_connections, alice.server.flood_bans) == (200, True)
