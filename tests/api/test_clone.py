"""Taking settings over from another domain, through the API and the page."""

import uuid
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import AuditEntry, User
from servers.models import Server, SnapshotRecord
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(api: Api, alice: Tenant) -> str:
    """A domain that differs in everything."""
    body = {
        "hostname": "source.example",
        "origins": [{"address": "10.0.0.9", "port": 81, "tls": "verify"}],
        "servers": [],
        "traffic": {"compression": True, "sticky_cookie": "s"},
    }
    made = api.post("/domains", body).json()
    api.patch(f"/policies/{made['policy']}", {"mode": "detect", "level": "high"})
    api.post("/ip-lists", {"domain": made["id"], "kind": "allow", "network": "10.0.0.0/8", "note": "office"})
    return str(made["id"])


def clone(api: Api, tenant: Tenant, source: Any, *parts: str) -> Any:
    return api.post(f"/domains/{tenant.domain.pk}/clone-settings", {"from": str(source), "parts": list(parts)})


def networks(api: Api, domain: Any) -> list[tuple[str, str, str]]:
    found = api.get("/ip-lists").json()["results"]
    return [(e["kind"], e["network"], e["note"]) for e in found if e["domain"] == str(domain)]


def test_all_parts_are_taken_over_in_one_revision(api: Api, alice: Tenant, source: str) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"traffic": {"cache": True}})
    answer = clone(api, alice, source, "traffic", "policy", "lists", "origins")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert (found["hostname"], found["servers"]) == ("alice.example", [str(alice.server.pk)])
    assert [(o["address"], o["port"], o["tls"]) for o in found["origins"]] == [("10.0.0.9", 81, "verify")]
    assert (found["traffic"]["compression"], found["traffic"]["cache"]) == (True, False)
    policy = api.get(f"/policies/{found['policy']}").json()
    assert (policy["mode"], policy["level"]) == ("detect", "high")
    assert networks(api, alice.domain.pk) == [("allow", "10.0.0.0/8", "office")]
    assert networks(api, source) == [("allow", "10.0.0.0/8", "office")]
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 2
        entry = AuditEntry.objects.get(action="domain.settings_cloned")
        parts = "lists, origins, policy, traffic"
        assert entry.changes == {"from": [None, "source.example"], "parts": [None, parts]}
        assert f"(from source.example, parts {parts})" in SnapshotRecord.objects.order_by("-revision")[0].cause


def test_only_chosen_parts_and_only_once(api: Api, alice: Tenant, source: str) -> None:
    for _ in range(2):
        found = clone(api, alice, source, "policy", "policy").json()
    assert found["traffic"]["compression"] is False
    assert networks(api, alice.domain.pk) == [("deny", "203.0.113.7/32", "")]
    with alice.scope:
        assert AuditEntry.objects.filter(action="domain.settings_cloned").count() == 1
        assert Server.objects.get().revision == alice.server.revision + 1


def test_refusals(api: Api, alice: Tenant, mallory: Tenant, source: str) -> None:
    for wrong in (mallory.domain.pk, uuid.uuid4(), "x", alice.domain.pk):
        answer = clone(api, alice, wrong, "policy")
        assert answer.status_code == 400, wrong
        assert answer.json()["errors"][0]["field"] == "from"
    for parts in ([], ["certificate"], ["policy", "x"]):
        answer = clone(api, alice, source, *parts)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"].startswith("parts")
    assert clone(Api(mallory.api_key), alice, mallory.domain.pk, "policy").status_code == 404
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision


def test_page(api: Api, alice: Tenant, mallory: Tenant, bob: User, source: str, signed_in: Any) -> None:
    client, url = signed_in(alice.owner), reverse("domain-clone", args=[alice.domain.pk])
    page = client.get(reverse("domain", args=[alice.domain.pk])).content.decode()
    assert "source.example</option>" in page
    assert "mallory.example" not in page
    assert url not in signed_in(bob).get(reverse("domain", args=[alice.domain.pk])).content.decode()
    done = client.post(url, {"source": source, "parts": ["traffic", "lists"]}, follow=True).content.decode()
    assert "Settings taken over from source.example." in done
    assert networks(api, alice.domain.pk) == [("allow", "10.0.0.0/8", "office")]
    again = client.post(url, {"source": source, "parts": ["traffic", "lists"]}, follow=True).content.decode()
    assert "Nothing to do" in again
    for wrong in ({"source": source}, {"source": mallory.domain.pk, "parts": ["lists"]}, {"parts": ["lists"]}):
        assert "invalid-feedback" in client.post(url, wrong).content.decode()
