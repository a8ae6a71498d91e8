"""Policies: groups, exclusions, trying a request."""

from typing import Any

import pytest

from accounts.models import AuditEntry
from servers.models import Server
from servers.snapshots import snapshot_of
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

ATTACK = "GET /shop?q=1%27+or+1%3D1--+&n=2 HTTP/1.1\r\nHost: alice.example\r\n\r\n"


def policy_path(tenant: Tenant, rest: str = "") -> str:
    return f"/policies/{tenant.domain.policy.pk}{rest}"


def policy_of(tenant: Tenant) -> Any:
    with tenant.scope:
        return snapshot_of(Server.objects.get(pk=tenant.server.pk)).domains[0].policy


def test_groups_have_modes_of_their_own(api: Api, alice: Tenant) -> None:
    answer = api.patch(policy_path(alice), {"groups": {"xss": "off", "sqli": "detect"}})
    assert answer.json()["groups"] == {"sqli": "detect", "xss": "off"}
    assert policy_of(alice).groups == {"sqli": "detect", "xss": "off"}
    assert api.patch(policy_path(alice), {"level": "high"}).json()["groups"] == {"sqli": "detect", "xss": "off"}
    assert api.patch(policy_path(alice), {"groups": {}}).json()["groups"] == {}


@pytest.mark.parametrize("groups", [{"nonsense": "off"}, {"xss": "maybe"}, ["xss"], {"xss": None}])
def test_groups_that_do_not_exist_are_refused(api: Api, alice: Tenant, groups: Any) -> None:
    answer = api.patch(policy_path(alice), {"groups": groups})
    assert answer.status_code == 400
    if groups == {"nonsense": "off"}:
        assert "the groups are" in answer.json()["detail"]


def test_catalogue_comes_from_the_engine(api: Api) -> None:
    found = api.get("/waf-rules").json()
    assert found["thresholds"] == {"low": 8, "medium": 5, "high": 3}
    groups = {group["name"]: group for group in found["groups"]}
    assert all(group["about"].endswith(".") and group["rules"] for group in groups.values())
    assert {"sqli", "xss", "traversal"} <= groups.keys()
    assert all(rule["why"].endswith(".") for group in groups.values() for rule in group["rules"])


def test_exclusion_reaches_the_shield_and_is_audited(api: Api, alice: Tenant) -> None:
    body = {"domain": str(alice.domain.pk), "rule": "sqli", "path": "/shop", "parameter": "Q", "note": "search"}
    made = api.post("/exclusions", body)
    assert made.status_code == 201, made.content
    assert made.json()["created_by"] == "alice@example.com"
    assert [(e.rule, e.path, e.parameter) for e in policy_of(alice).exclusions] == [("sqli", "/shop", "q")]
    assert api.post("/exclusions", body).status_code == 409
    with alice.scope:
        entry = AuditEntry.objects.get(action="exclusion.added")
    assert entry.changes == {"exclusion": [None, "sqli below /shop in parameter q"]}
    assert api.get(f"/exclusions?domain={alice.domain.pk}").json()["results"][0]["note"] == "search"
    assert api.delete(f"/exclusions/{made.json()['id']}").status_code == 204
    assert policy_of(alice).exclusions == ()


@pytest.mark.parametrize(
    ("exclusion", "field"),
    [
        ({}, "rule"), ({"rule": "no-such"}, "rule"), ({"path": "shop"}, "path"), ({"path": "/a b"}, "path"),
        ({"parameter": "a b"}, "parameter"), ({"path": "/" + "a" * 200}, "path"), ({"note": "only"}, "rule"),
    ],
)  # fmt: skip
def test_exclusion_that_says_nothing_or_cannot_be_is_refused(
    api: Api, alice: Tenant, exclusion: dict[str, str], field: str
) -> None:
    answer = api.post("/exclusions", {"domain": str(alice.domain.pk), **exclusion})
    assert answer.status_code == 400, answer.content
    assert field in answer.content.decode()


def test_exclusions_of_a_domain_are_bounded(api: Api, alice: Tenant) -> None:
    for number in range(50):
        answer = api.post("/exclusions", {"domain": str(alice.domain.pk), "parameter": f"p{number}"})
        assert answer.status_code == 201
    assert api.post("/exclusions", {"domain": str(alice.domain.pk), "parameter": "x"}).status_code == 409


def test_trying_a_request_uses_the_domains_policy(api: Api, alice: Tenant) -> None:
    found = api.post(policy_path(alice, "/try"), {"request": ATTACK}).json()
    assert (found["action"], found["threshold"]) == ("block", 5)
    assert found["score"] >= 5
    assert {(f["place"], f["name"], f["group"]) for f in found["findings"]} == {("query", "q", "sqli")}
    api.post("/exclusions", {"domain": str(alice.domain.pk), "rule": "sqli", "path": "/shop", "parameter": "q"})
    assert api.post(policy_path(alice, "/try"), {"request": ATTACK}).json()["action"] == "pass"


def test_request_can_be_given_in_parts(api: Api, alice: Tenant) -> None:
    parts = {
        "method": "post",
        "url": "https://alice.example/edit?x=1",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        "body": "file=..%2F..%2Fetc%2Fpasswd",
    }
    found = api.post(policy_path(alice, "/try"), parts).json()
    assert {f["place"] for f in found["findings"]} == {"form"}
    assert api.post(policy_path(alice, "/try"), {"url": "/?q=<script>alert(1)</script>"}).json()["action"] == "block"


@pytest.mark.parametrize(
    "body",
    [
        {}, {"request": "  "}, {"request": ATTACK, "url": "/"}, {"url": "/", "headers": {"a": "b\r\nc: d"}},
        {"request": "x" * 300_000}, {"url": "/", "method": "GET / X"},
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(api: Api, alice: Tenant, body: dict[str, Any]) -> None:
    assert api.post(policy_path(alice, "/try"), body).status_code == 400
