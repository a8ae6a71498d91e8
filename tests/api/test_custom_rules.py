"""Custom rules through API and page."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, User
from lumos_agent import protocol
from servers.metrics import ingest
from tests.api.test_policies import policy_of
from tests.conftest import Api
from tests.factories import Tenant
from tests.unit.waf.test_events import event
from waf.models import CustomRule, RuleHits
from waf.rule_hits import expire_hits

pytestmark = pytest.mark.django_db

ADMIN = 'path starts_with "/admin" and not ip in_cidr "192.0.2.0/24"'


def add(api: Api, tenant: Tenant, **changes: Any) -> Any:
    body = {"domain": str(tenant.domain.pk), "name": "office", "expression": ADMIN, "action": "block"}
    return api.post("/custom-rules", body | changes)


def test_rules_reach_the_shield_in_their_order(api: Api, alice: Tenant) -> None:
    first = add(api, alice)
    assert first.status_code == 201, first.content
    add(api, alice, name="key", expression='header["X-Key"] eq "a"', action="allow", expires_at="2100-01-01T00:00:00Z")
    add(api, alice, name="off", enabled=False)
    custom = policy_of(alice).custom
    assert [(rule.action, rule.expires) for rule in custom] == [("block", 0), ("allow", 4102444800)]
    path = f"/custom-rules/{first.json()['id']}"
    assert api.patch(path, {"position": 9, "expression": 'method in {"PUT",\n "DELETE"}'}).status_code == 200
    assert [rule.action for rule in policy_of(alice).custom] == ["allow", "block"]
    assert api.delete(path).status_code == 204
    assert [rule.action for rule in policy_of(alice).custom] == ["allow"]
    with alice.scope:
        told = AuditEntry.objects.filter(action__startswith="custom_rule.").order_by("created_at")
        assert [entry.action.partition(".")[2] for entry in told] == ["added"] * 3 + ["changed", "removed"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [('path eq "/a" and', "col 17: "), ('path eq "\u0001"', "control"), ("", "blank"), ("x" * 3000, "2000")],
)
def test_mistake_is_told_with_its_column(api: Api, alice: Tenant, expression: str, message: str) -> None:
    answer = add(api, alice, expression=expression)
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert "expression" in answer.content.decode()
    assert policy_of(alice).custom == ()


def test_limit_says_how_much(api: Api, alice: Tenant) -> None:
    refused = add(api, alice, action="limit")
    assert refused.status_code == 400
    assert "requests" in refused.content.decode()
    made = add(api, alice, action="limit", requests=5, window_seconds=600, expression='country eq "de"')
    assert made.status_code == 201, made.content
    part = policy_of(alice).custom[0]
    assert (part.action, part.requests, part.window_seconds) == ("limit", 5, 600)
    document = api.get("/config").json()
    assert document["domains"][0]["policy"]["custom"][0]["requests"] == 5
    assert api.patch(f"/custom-rules/{made.json()['id']}", {"action": "challenge"}).status_code == 200
    assert (policy_of(alice).custom[0].action, policy_of(alice).custom[0].requests) == ("challenge", 0)
    assert api.call("PUT", "/config", document).status_code == 200
    assert policy_of(alice).custom[0].requests == 5
    with alice.scope:
        revision = alice.server.__class__.objects.get(pk=alice.server.pk).revision
    assert api.post(f"/servers/{alice.server.pk}/snapshots/{revision - 1}/restore").status_code == 200
    assert policy_of(alice).custom[0].action == "challenge"


def batch_of(seq: int, *hits: tuple[Any, int, datetime]) -> protocol.Batch:
    """Return a batch that tells (rule, hits, when)."""
    parts = [protocol.RuleHits(rule=str(r), hour=int(at.timestamp()) // 3600 * 3600, hits=n) for r, n, at in hits]
    return protocol.Batch(boot_id="00000000-0000-0000-0000-000000000001", seq=seq, hits=tuple(parts))


def test_hits_are_counted_once_and_over_days(api: Api, alice: Tenant, mallory: Tenant) -> None:
    rule, now = add(api, alice).json()["id"], timezone.now()
    yesterday = now - timedelta(days=1)
    with mallory.scope:
        foreign = CustomRule(domain=mallory.domain, position=0, name="r", expression='path eq "/"', action="log")
        foreign.save()
    with alice.scope:
        for _ in range(2):
            ingest(server_id=alice.server.pk, batch=batch_of(1, (rule, 3, now), (rule, 2, now)))
        later = (rule, 2, yesterday), (rule, 1, now - timedelta(days=90)), (alice.domain.pk, 9, now)
        ingest(server_id=alice.server.pk, batch=batch_of(2, *later, (foreign.pk, 9, now)))
    assert RuleHits.unscoped.filter(rule=foreign.pk).count() == 0
    found = api.get(f"/custom-rules/{rule}").json()
    assert (found["hits_today"], found["hits_30_days"]) == (5, 7)
    assert api.patch(f"/custom-rules/{rule}", {"name": "other"}).json()["hits_30_days"] == 7
    document = api.get("/config").json()
    document["domains"][0]["policy"]["custom"][0]["action"] = "log"
    assert api.call("PUT", "/config", document).status_code == 200
    assert api.get("/custom-rules").json()["results"][0]["hits_30_days"] == 7
    expire_hits(now + timedelta(days=29))
    with alice.scope:
        assert sum(RuleHits.objects.values_list("hits", flat=True)) == 5


def test_rule_stays_with_its_domain_and_a_domain_has_at_most_fifty(api: Api, alice: Tenant, mallory: Tenant) -> None:
    made = add(api, alice).json()
    answer = api.patch(f"/custom-rules/{made['id']}", {"domain": str(mallory.domain.pk)})
    assert answer.status_code == 400
    for number in range(49):
        assert add(api, alice, name=str(number)).status_code == 201
    assert add(api, alice).status_code == 409


def test_dry_run_tells_what_would_have_matched(api: Api, alice: Tenant, mallory: Tenant) -> None:
    event(alice, path="/%61dmin/x", client="198.51.100.1")
    event(alice, path="/admin", client="192.0.2.7")
    event(mallory, path="/admin", client="198.51.100.1")
    found = api.post("/custom-rules/dry-run", {"domain": str(alice.domain.pk), "expression": ADMIN}).json()
    assert (found["events"], found["matching"]) == (2, 1)
    assert [row["path"] for row in found["examples"]] == ["/%61dmin/x"]
    body = {"domain": str(mallory.domain.pk), "expression": ADMIN}
    assert api.post("/custom-rules/dry-run", body).status_code == 400


def test_page_tries_adds_changes_and_counts(api: Api, alice: Tenant, bob: User, signed_in: Any) -> None:
    client, url = signed_in(alice.owner), f"/domains/{alice.domain.pk}/waf/rules"
    event(alice, path="/admin/x", client="198.51.100.1")
    form = {"name": "office", "action": "block", "expression": ADMIN, "enabled": "on", "window_seconds": "60"}
    assert "holds for 1 of the 1 event of" in client.post(url, form | {"try": "1"}).content.decode()
    assert policy_of(alice).custom == ()
    assert "col 1: " in client.post(url, form | {"expression": "nonsense"}).content.decode()
    assert client.post(url, form).status_code == 302
    rule = api.get("/custom-rules").json()["results"][0]
    with alice.scope:
        ingest(server_id=alice.server.pk, batch=batch_of(1, (rule["id"], 3, timezone.now())))
    assert f'rule=rule:{rule["id"]}">3</a>' in client.get(url).content.decode()
    edit = f"/waf/rules/{rule['id']}"
    assert "Change office" in client.get(edit).content.decode()
    assert client.post(edit, form | {"action": "log", "expires_at": "2100-01-01T00:00"}).status_code == 302
    assert [(r.action, r.expires) for r in policy_of(alice).custom] == [("log", 4102444800)]
    assert "Add a rule" not in signed_in(bob).get(url).content.decode()
    assert client.post(f"{edit}/remove").status_code == 302
    assert policy_of(alice).custom == ()
