"""API keys: shown once, bounded by scope and by their creator's role, over at once when they end."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Membership
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def created(api: Api, **values: Any) -> dict[str, Any]:
    answer = api.post("/api-keys", {"name": "k", **values})
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


def test_key_is_shown_once_and_kept_as_hash(api: Api, alice: Tenant) -> None:
    made = created(api, scope="read")
    assert made["key"].startswith("lmsk_")
    assert len(made["key"]) == 5 + 64
    assert "key" not in api.get(f"/api-keys/{made['id']}").json()
    with alice.scope:
        row = ApiKey.objects.get(pk=made["id"])
        assert made["key"] not in (row.key_hash, row.prefix)
        assert made["key"] not in str(list(AuditEntry.objects.values()))


def test_revoked_key_fails_at_the_next_request(api: Api) -> None:
    made = created(api)
    assert Api(made["key"]).get("/domains").status_code == 200
    assert api.delete(f"/api-keys/{made['id']}").status_code == 204
    refused = Api(made["key"]).get("/domains")
    assert refused.status_code == 401
    assert refused.json()["type"] == "urn:lumos:problem:authentication_failed"


def test_expired_key_fails_and_expiry_lies_in_the_future(api: Api, alice: Tenant) -> None:
    soon = timezone.now() + timedelta(hours=1)
    made = created(api, expires_at=soon.isoformat())
    assert Api(made["key"]).get("/domains").status_code == 200
    with alice.scope:
        ApiKey.objects.filter(pk=made["id"]).update(expires_at=timezone.now())
    assert Api(made["key"]).get("/domains").status_code == 401
    past = api.post("/api-keys", {"name": "k", "expires_at": "2020-01-01T00:00:00Z"})
    assert past.status_code == 400
    assert past.json()["errors"][0]["field"] == "expires_at"


def test_use_is_noted(api: Api, alice: Tenant) -> None:
    made = created(api)
    assert made["last_used_at"] is None
    Api(made["key"]).get("/domains")
    assert api.get(f"/api-keys/{made['id']}").json()["last_used_at"] is not None


@pytest.mark.parametrize(("role", "statuses"), [("member", (200, 201, 403)), ("viewer", (200, 403, 403))])
def test_a_key_sinks_with_its_creators_role(api: Api, alice: Tenant, role: str, statuses: tuple[int, int, int]) -> None:
    Membership.objects.filter(user=alice.owner).update(role=role)
    entry = {"domain": str(alice.domain.pk), "kind": "deny", "network": "192.0.2.9"}
    found = (
        api.get("/domains").status_code,
        api.post("/ip-lists", entry).status_code,
        api.post("/api-keys", {"name": "more"}).status_code,
    )
    assert found == statuses


def test_a_key_ends_with_its_creators_membership_or_activity(api: Api, alice: Tenant) -> None:
    alice.owner.is_active = False
    alice.owner.save()
    assert api.get("/domains").status_code == 401
    alice.owner.is_active = True
    alice.owner.save()
    Membership.objects.filter(user=alice.owner).delete()
    assert api.get("/domains").status_code == 401


def test_page_makes_a_key_with_an_end(alice: Tenant, signed_in: Any) -> None:
    page = signed_in(alice.owner).post("/api-keys", {"name": "deploy", "scope": "read", "expires": "30"})
    text = page.content.decode()
    assert "shown only now" in text
    with alice.scope:
        row = ApiKey.objects.get(name="deploy")
    assert row.scope == "read"
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)
