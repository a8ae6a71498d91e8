"""Events: why, what an exclusion lets pass, pages by cursor, top lists, CSV and expiry."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from tests.conftest import Api
from tests.factories import Tenant
from waf import events, impact
from waf.exclusions import ExclusionData
from waf.models import CustomRule, Event, EventCount, Exclusion
from waf.rules import catalogue

pytestmark = pytest.mark.django_db


def event(tenant: Tenant, **changes: Any) -> Event:
    values = {
        "server": tenant.server, "domain": tenant.domain, "time": timezone.now(), "request_id": "r1",
        "client": "192.0.2.1", "method": "GET", "host": "alice.example", "path": "/shop/search",
        "query": "q=1%27+or+1%3D1", "rules": ["sqli-tautology"], "score": 6, "matched": "1' or 1=1", "place": "query:q",
        "action": "block",
    } | changes  # fmt: skip
    with tenant.scope:
        row = Event(**values)
        row.save()
    return row


def known_rule(group: str, least: int) -> str:
    rules = catalogue().rules.values()
    return next(rule.id for rule in rules if rule.group == group and rule.score >= least)


def test_page_says_why_and_marks_what_matched(alice: Tenant, signed_in: Any) -> None:
    rule = known_rule("sqli", 5)
    row = event(alice, rules=[rule, "list-deny"])
    text = signed_in(alice.owner).get(f"/events/{row.pk}").content.decode()
    assert catalogue().rules[rule].why.replace("'", "&#x27;").replace('"', "&quot;") in text
    assert "<mark>1&#x27; or 1=1</mark>" in text
    assert "the query, q" in text
    assert "level medium objects from 5" in text
    assert "Exclude this rule in parameter q below /shop/search" in text


def test_page_names_custom_rules_and_settings(alice: Tenant, signed_in: Any) -> None:
    with alice.scope:
        rule = CustomRule(
            domain=alice.domain, position=0, name="abroad", expression='country eq "FR"', action="challenge"
        )
        rule.save()
    client = signed_in(alice.owner)
    row = event(alice, rules=[rule.event_name], action="challenge", country="FR", asn=64500)
    text = client.get(f"/events/{row.pk}").content.decode()
    assert "sent to the bot check" in text
    assert "abroad</span>A custom rule of the domain." in text
    assert "FR, AS64500" in text
    row = event(alice, rules=["rate:login", "rule:gone"], action="limit")
    text = client.get(f"/events/{row.pk}").content.decode()
    assert "over this rate limit" in text
    assert '<option value="limit" selected>Limited</option>' in client.get("/events?action=limit").content.decode()


def test_exclusion_is_one_click_away(alice: Tenant, bob: User, signed_in: Any) -> None:
    rule = known_rule("sqli", 5)
    row = event(alice, rules=[rule])
    assert "Exclude</button>" not in signed_in(bob).get(f"/events/{row.pk}").content.decode()
    data = {"rule": rule, "path": "/shop/search", "parameter": "q", "note": "from request r1"}
    answer = signed_in(alice.owner).post(f"/domains/{alice.domain.pk}/waf/exclusions", data)
    assert answer.status_code == 302
    with alice.scope:
        found = Exclusion.objects.get()
    assert (found.rule, found.path, found.parameter, found.created_by) == (rule, "/shop/search", "q", alice.owner)
    assert rule in signed_in(alice.owner).get(f"/domains/{alice.domain.pk}/waf").content.decode()


def test_impact_counts_what_would_have_passed(alice: Tenant) -> None:
    strong, weak, other = known_rule("sqli", 5), "sqli", known_rule("xss", 5)
    event(alice, rules=[strong])
    event(alice, rules=[strong], path="/shop/%2e%2e/login", client="192.0.2.2")
    event(alice, rules=[strong, other], client="192.0.2.3")
    event(alice, rules=[other])
    event(alice, rules=["list-deny"], place="")
    with alice.scope:
        rows = list(Event.objects.all())
        assert impact.impact(rows, ExclusionData(strong, "", ""), "medium")[:3] == (3, 2, 2)
        assert impact.impact(rows, ExclusionData(weak, "/shop", ""), "medium")[:3] == (2, 1, 1)
        assert impact.impact(rows, ExclusionData(strong, "/sho", ""), "medium")[:3] == (0, 0, 0)
        assert impact.impact(rows, ExclusionData("", "", "q"), "medium")[:3] == (4, 4, 3)
        assert impact.impact(rows, ExclusionData(strong, "", "other"), "medium")[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/\x01%00%zz", "place": "header:a b"}, {"rules": []}, {"matched": "", "place": ""}, {"path": ""},
        {"path": "/a%20b"}, {"path": "/" + "x" * 400}, {"query": "%", "place": "nowhere:"},
    ],
)  # fmt: skip
def test_page_copes_with_every_event(alice: Tenant, signed_in: Any, changes: dict[str, Any]) -> None:
    row = event(alice, **changes)
    client = signed_in(alice.owner)
    assert client.get(f"/events/{row.pk}").status_code == 200
    assert client.get(f"/domains/{alice.domain.pk}/waf/try?event={row.pk}").status_code == 200


def test_pages_follow_a_cursor_at_constant_cost(
    alice: Tenant, signed_in: Any, django_assert_max_num_queries: Any
) -> None:
    with alice.scope:
        Event.objects.bulk_create(
            Event(
                account_id=alice.account.pk, server=alice.server, domain=alice.domain, time=timezone.now(),
                request_id=f"r{n}", client="192.0.2.1", method="GET", host="h", path=f"/{n}", action="block",
            )
            for n in range(120)
        )  # fmt: skip
    client, seen, url = signed_in(alice.owner), [], "/events"
    for _ in range(3):
        with django_assert_max_num_queries(20):
            answer = client.get(url)
        seen += [row.path for row in answer.context["events"]]
        url = f"/events?cursor={answer.context['older'].replace('+', '%2B')}"
    assert len(seen) == len(set(seen)) == 120
    assert answer.context["older"] == ""
    for cursor in ("nonsense", "2026-01-01_x", f"2026-01-01T00:00:00_{alice.account.pk}"):
        assert len(client.get(f"/events?cursor={cursor}").context["events"]) == 50


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("rule=xss-a", ["/b"]), ("path=SHOP", ["/shop"]), ("client=2001:db8::1", ["/b"]), ("action=detect", ["/b"]),
        ("since=2100-01-01T00:00:00Z", []), ("until=2100-01-01T00:00:00Z", ["/b", "/shop"]), ("rule=xss", []),
    ],
)  # fmt: skip
def test_filters(api: Api, alice: Tenant, query: str, paths: list[str]) -> None:
    event(alice, path="/shop")
    event(alice, path="/b", rules=["x", "xss-a"], client="2001:db8::1", action="detect")
    assert [row["path"] for row in api.get(f"/events?{query}").json()["results"]] == paths


def test_top_lists(api: Api, alice: Tenant, mallory: Tenant) -> None:
    for client, rules in (("192.0.2.1", ["a", "b"]), ("192.0.2.2", ["a"]), ("192.0.2.1", ["a"])):
        event(alice, client=client, rules=rules)
    event(mallory, client="192.0.2.9")
    top = api.get(f"/events/top?domain={alice.domain.pk}").json()
    assert top["client"] == [{"value": "192.0.2.1", "events": 2}, {"value": "192.0.2.2", "events": 1}]
    assert top["rule"] == [{"value": "a", "events": 3}, {"value": "b", "events": 1}]
    assert top["host"] == [{"value": "alice.example", "events": 3}]
    assert api.get("/events/top?domain=x").status_code == 400


def test_places_are_filtered_counted_and_exported(alice: Tenant, api: Api, signed_in: Any) -> None:
    event(alice, country="DE", asn=64500, path="/de")
    event(alice, country="FR", asn=4_200_000_000, path="/fr")
    event(alice, path="/unknown")
    assert [row["path"] for row in api.get("/events?country=de").json()["results"]] == ["/de"]
    assert [row["country"] for row in api.get("/events?asn=4200000000").json()["results"]] == ["FR"]
    assert api.get("/events?asn=AS1").status_code == 400
    top = api.get("/events/top").json()
    assert top["country"] == [{"value": "DE", "events": 1}, {"value": "FR", "events": 1}]
    assert [row["value"] for row in top["asn"]] == [64500, 4_200_000_000]
    client = signed_in(alice.owner)
    shown = client.get("/events?country=DE").content.decode()
    assert "DE · AS64500" in shown
    assert "/unknown" not in shown
    rows = list(csv.DictReader(io.StringIO(client.get("/events/csv").getvalue().decode())))
    assert [(row["country"], row["asn"]) for row in rows] == [("", ""), ("FR", "4200000000"), ("DE", "64500")]
    found = api.post("/custom-rules/dry-run", {"domain": str(alice.domain.pk), "expression": 'asn eq "AS64500"'})
    assert found.json()["matching"] == 1


def test_csv_has_all_rows_and_no_formulas(alice: Tenant, signed_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lumos.listing.BATCH", 2)
    for number in range(5):
        event(alice, path=f"/{number}", user_agent="=cmd()" if number == 3 else 'a "b", c')
    answer = signed_in(alice.owner).get("/events/csv?path=/")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [row["path"] for row in rows] == ["/4", "/3", "/2", "/1", "/0"]
    assert rows[1]["user_agent"] == "'=cmd()"
    assert rows[0]["user_agent"] == 'a "b", c'


def test_what_was_only_counted_is_said(alice: Tenant, mallory: Tenant, signed_in: Any) -> None:
    EventCount.objects.create(server=alice.server, day=timezone.now().date(), stored=5000, counted=321)
    assert "321 more events" in signed_in(alice.owner).get("/events").content.decode()
    assert "more events" not in signed_in(mallory.owner).get("/events").content.decode()


def test_old_events_go_in_batches(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EXPIRED_BATCH", 2)
    kept = event(alice)
    for _ in range(5):
        row = event(alice)
        Event.unscoped.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(days=31))
    assert events.expire_events(timezone.now()) == 5
    assert list(Event.unscoped.values_list("pk", flat=True)) == [kept.pk]


def test_try_page_shows_the_decision(alice: Tenant, signed_in: Any) -> None:
    client, url = signed_in(alice.owner), f"/domains/{alice.domain.pk}/waf/try"
    text = client.get(url).content.decode()
    assert "alice.example" in text
    text = client.post(url, {"request": "GET /?q=<script>alert(1)</script> HTTP/1.1\nHost: a\n\n"}).content.decode()
    assert "blocked" in text
    assert "group xss" in text
    assert "passes" in client.post(url, {"request": "GET / HTTP/1.1\nHost: a\n\n"}).content.decode()


def test_groups_are_saved_from_the_page(api: Api, alice: Tenant, signed_in: Any) -> None:
    form = {"mode": "block", "level": "low", "group-xss": "detect", "group-sqli": ""}
    assert signed_in(alice.owner).post(f"/domains/{alice.domain.pk}/waf/policy", form).status_code == 302
    found = api.get(f"/policies/{alice.domain.policy.pk}").json()
    assert (found["level"], found["groups"]) == ("low", {"xss": "detect"})
    assert "Modes of single groups" in signed_in(alice.owner).get(f"/domains/{alice.domain.pk}/waf").content.decode()
