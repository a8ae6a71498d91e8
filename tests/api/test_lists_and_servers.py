"""IP lists, policies, servers and keys through the API."""

from typing import Any

import pytest

from accounts.models import AuditEntry
from servers.models import Server
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("network", "kept"),
    [
        ("198.51.100.7", "198.51.100.7/32"), ("198.51.100.7/24", "198.51.100.0/24"), ("2001:DB8::1", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"), ("::ffff:198.51.100.9", "198.51.100.9/32"),
    ],
)  # fmt: skip
def test_entry_is_kept_in_canonical_form(api: Api, alice: Tenant, network: str, kept: str) -> None:
    answer = api.post("/ip-lists", {"domain": str(alice.domain.pk), "kind": "deny", "network": network})
    assert answer.status_code == 201, answer.content
    assert answer.json()["network"] == kept
    assert api.get(f"/ip-lists?domain={alice.domain.pk}&network={kept}").json()["results"]


@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/0", "::/0", "1.2.3", "x", "", "1.2.3.4/33", "1.2.3.4\n5.6.7.8", "010.0.0.1", "fe80::1%eth0", None],
)
def test_entry_that_is_no_network_or_everybody_is_refused(api: Api, alice: Tenant, network: Any) -> None:
    answer = api.post("/ip-lists", {"domain": str(alice.domain.pk), "kind": "deny", "network": network})
    assert answer.status_code == 400, answer.content
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision


def test_same_entry_twice_is_a_conflict(api: Api, alice: Tenant) -> None:
    body = {"domain": str(alice.domain.pk), "kind": "deny", "network": "203.0.113.7/32"}
    assert api.post("/ip-lists", body).status_code == 409


def test_policy_change_is_pushed_and_audited(api: Api, alice: Tenant) -> None:
    path = f"/policies/{alice.domain.policy.pk}"
    assert api.patch(path, {"mode": "detect"}).json()["mode"] == "detect"
    assert api.patch(path, {"mode": "sometimes"}).status_code == 400
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 1
        entry = AuditEntry.objects.latest("created_at")
        assert (entry.action, entry.changes, entry.actor) == (
            "policy.changed",
            {"mode": ["block", "detect"]},
            alice.owner,
        )
        assert entry.via.startswith("key lmsk_")


def test_token_is_shown_once_and_rotation_ends_the_old_one(api: Api) -> None:
    made = api.post("/servers", {"name": "fra1"}).json()
    assert made["token"].startswith(made["server"]["token_prefix"])
    assert made["token"] in made["install"]
    rotated = api.post(f"/servers/{made['server']['id']}/rotate-token").json()
    assert rotated["token"] != made["token"]
    assert made["token"] not in api.get("/servers").content.decode()


def test_server_that_alone_carries_a_domain_stays(api: Api, alice: Tenant) -> None:
    answer = api.delete(f"/servers/{alice.server.pk}")
    assert answer.status_code == 409
    assert "alice.example" in answer.json()["detail"]
    api.delete(f"/domains/{alice.domain.pk}")
    assert api.delete(f"/servers/{alice.server.pk}").status_code == 204


def test_key_is_shown_once_and_ends_when_revoked(api: Api) -> None:
    made = api.post("/api-keys", {"name": "ci", "scope": "read"}).json()
    reader = Api(made["key"])
    assert reader.get("/domains").status_code == 200
    assert reader.post("/servers", {"name": "x"}).status_code == 403
    assert "key" not in api.get(f"/api-keys/{made['id']}").json()
    api.delete(f"/api-keys/{made['id']}")
    assert reader.get("/domains").status_code == 401


@pytest.mark.parametrize("query", ["client=nonsense", "domain=1", "since=yesterday", "server=x"])
def test_nonsense_in_filters_is_a_problem(api: Api, query: str) -> None:
    assert api.get(f"/events?{query}").status_code == 400


def test_unknown_path_and_final_slash(api: Api) -> None:
    assert api.get("/nothing").json()["status"] == 404
    assert api.get("/domains/")["Location"] == "/api/v1/domains"
