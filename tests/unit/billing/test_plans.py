"""Limits, choosing a plan, and what a frozen account may not do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Role
from accounts.services import create_account
from accounts.tenancy import tenant_scope
from billing import cycle, ledger, money, plans, selectors
from billing.entitlements import limits_of, wallet_of
from billing.frozen import OPEN_ROUTES
from billing.models import Kind, Plan, Wallet
from billing.money import CREDIT
from lumos.errors import AppError, Conflict, LimitReached, PaymentRequired
from servers.models import Server
from servers.services import add_server
from tests import factories
from tests.conftest import Api
from tests.factories import Tenant
from tests.test_tenancy_doors import PAGES, POST_ONLY, address, ids, undone

pytestmark = pytest.mark.django_db


def put(tenant: Tenant, **values: Any) -> None:
    wallet_of(tenant.account.pk)
    Wallet.unscoped.filter(account=tenant.account).update(**values)


def credit(tenant: Tenant, amount: int) -> None:
    with tenant.scope:
        ledger.book(kind=Kind.GRANT, amount=amount, cause=f"{tenant.account.pk}:{timezone.now()}")


def free() -> Plan:
    return Plan.objects.get(is_default=True)


def test_a_new_account_has_the_default_plan() -> None:
    owner = factories.person("new")
    account = create_account(owner=owner, name="New")
    assert wallet_of(account.pk).plan == free()
    assert limits_of(account.pk).analytics == timedelta(hours=24)
    with tenant_scope(account.pk):
        add_server(name="one", actor=owner)
        with pytest.raises(LimitReached, match="has one server"):
            add_server(name="two", actor=owner)
        with pytest.raises(LimitReached, match="no API keys"):
            create_api_key(name="ci", scope="read", actor=owner)


def test_the_api_says_what_a_full_plan_needs(alice: Tenant, api: Api, signed_in: Any) -> None:
    put(alice, plan=factories.plan("small", max_servers=1))
    answer = api.post("/servers", {"name": "two"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:lumos:problem:limit")
    assert "choose a larger plan under Billing" in answer.json()["detail"]
    page = signed_in(alice.owner).post("/servers/add", {"name": "two"}).content.decode()
    assert "choose a larger plan under Billing" in page


def test_a_larger_plan_begins_with_the_next_cycle(alice: Tenant, api: Api) -> None:
    put(alice, plan=free())
    assert "Top up at least 19.00 first" in api.call("PUT", "/billing/plan", {"plan": "Pro"}).json()["detail"]
    credit(alice, 40 * CREDIT)
    shown = api.call("PUT", "/billing/plan", {"plan": "Pro"}).json()
    assert (shown["plan"]["name"], shown["next_plan"]["name"]) == ("Free", "Pro")
    assert limits_of(alice.account.pk).max_servers == 1
    cycle.run(timezone.now())
    assert wallet_of(alice.account.pk).plan.name == "Free"
    cycle.run(timezone.now() + timedelta(minutes=5))
    wallet = wallet_of(alice.account.pk)
    assert (wallet.plan.name, wallet.next_plan) == ("Pro", None)
    assert wallet.balance_microcredits < 40 * CREDIT
    assert limits_of(alice.account.pk).max_servers == 5


def test_a_choice_can_be_taken_back_before_it_begins(alice: Tenant) -> None:
    put(alice, plan=free(), balance_microcredits=99 * CREDIT)
    pro = Plan.objects.get(name="Pro")
    with alice.scope:
        plans.choose_plan(plan=pro, actor=alice.owner)
        plans.choose_plan(plan=free(), actor=alice.owner)
    cycle.run(timezone.now() + timedelta(minutes=5))
    assert wallet_of(alice.account.pk).plan == free()


def test_a_smaller_plan_names_what_must_go_and_holds_at_once(alice: Tenant, signed_in: Any) -> None:
    put(alice, plan=Plan.objects.get(name="Pro"), balance_microcredits=40 * CREDIT)
    with alice.scope:
        add_server(name="second", actor=alice.owner)
        with pytest.raises(Conflict) as refused:
            plans.choose_plan(plan=free(), actor=alice.owner)
        assert refused.value.detail == (
            "Free has 1 server and no API keys. Remove 1 of 2 servers (second, alice-shield) and 1 API key (ci) first."
        )
        Server.objects.get(name="second").delete()
        ApiKey.objects.all().delete()
        signed_in(alice.owner).post("/billing/plan", {"plan": free().pk})
        assert wallet_of(alice.account.pk).next_plan == free()
        with pytest.raises(LimitReached):
            add_server(name="third", actor=alice.owner)


def test_members_see_billing_and_decide_nothing(alice: Tenant, signed_in: Any) -> None:
    client = signed_in(factories.member(alice.account, "carol", Role.MEMBER))
    for url in ("/billing", "/api/v1/billing", "/api/v1/ledger", "/api/v1/charges", "/api/v1/top-ups", "/api/v1/plans"):
        assert client.get(url).status_code == 200
    assert client.post("/billing/plan", {"plan": free().pk}).status_code == 403
    assert client.post("/billing/top-up", {"amount": "20"}).status_code == 403
    as_json: dict[str, Any] = {"content_type": "application/json"}
    assert client.put("/api/v1/billing/plan", {"plan": "Free"}, **as_json).status_code == 403
    assert client.post("/api/v1/top-ups", {"amount_microcredits": 20 * CREDIT}, **as_json).status_code == 403


def test_plans_that_are_not_offered_cannot_be_chosen(alice: Tenant, signed_in: Any) -> None:
    hidden = factories.plan("hidden")
    with alice.scope, pytest.raises(AppError, match="not offered"):
        plans.choose_plan(plan=hidden, actor=alice.owner)
    page = signed_in(alice.owner).post("/billing/plan", {"plan": hidden.pk}, follow=True).content.decode()
    assert "This plan is not offered" in page


def test_pages_of_a_frozen_account_refuse_every_change(alice: Tenant, signed_in: Any) -> None:
    objects, wrong = ids(alice), []
    put(alice, frozen_at=timezone.now())
    before = Server.unscoped.values_list("revision", flat=True).get()
    for name in sorted(POST_ONLY):
        with undone():
            client = signed_in(alice.owner)
            answer = client.post(address(name, PAGES[name], objects))
            if name in OPEN_ROUTES:
                is_right = answer.status_code in {200, 302}
            else:
                is_right = (answer.status_code, answer["Location"]) == (302, reverse("billing"))
                is_right &= "This account is frozen" in client.get(reverse("billing")).content.decode()
                is_right &= Server.unscoped.values_list("revision", flat=True).get() == before
        if not is_right:
            wrong.append((name, answer.status_code))
    assert wrong == []


def test_a_frozen_account_reads_pays_and_refuses_its_keys(alice: Tenant, api: Api, signed_in: Any) -> None:
    put(alice, frozen_at=timezone.now())
    for method, path in (("GET", "/domains"), ("POST", "/servers"), ("DELETE", f"/domains/{alice.domain.pk}")):
        answer = api.call(method, path, {})
        assert (answer.status_code, answer.json()["type"]) == (402, "urn:lumos:problem:account_frozen")
    assert api.get("/billing").json()["is_frozen"] is True
    client = signed_in(alice.owner)
    assert client.get("/api/v1/domains").status_code == 200
    refused = client.post("/api/v1/servers", {"name": "x"}, content_type="application/json")
    assert refused.status_code == 402
    assert client.get("/domains").status_code == 200
    assert "This account is frozen" in client.get("/").content.decode()
    put(alice, frozen_at=None, low_at=timezone.now())
    assert "The balance is low" in client.get("/").content.decode()


def test_a_frozen_account_may_go_down_to_a_plan_that_costs_nothing(alice: Tenant) -> None:
    put(alice, plan=Plan.objects.get(name="Pro"), frozen_at=timezone.now())
    with alice.scope:
        with pytest.raises(PaymentRequired):
            plans.choose_plan(plan=Plan.objects.get(name="Enterprise"), actor=alice.owner)
        ApiKey.objects.all().delete()
        plans.choose_plan(plan=free(), actor=alice.owner)
    cycle.run(timezone.now() + timedelta(minutes=5))
    assert not wallet_of(alice.account.pk).is_frozen


def test_standing_and_statement_add_up(alice: Tenant, api: Api, signed_in: Any) -> None:
    put(alice, plan=Plan.objects.get(name="Pro"))
    credit(alice, 38 * CREDIT)
    month = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for number in range(3):
        cycle.run(month + number * timedelta(minutes=5))
    with alice.scope:
        standing, statement = selectors.standing(), selectors.statement(month.date())
    lasts = standing.run_out_at - timezone.now()  # type: ignore[operator]
    assert timedelta(days=59, hours=23) < lasts < timedelta(days=60)
    assert standing.forecast[1] == (30, standing.balance - 19 * CREDIT)
    assert standing.forecast[2] == (90, 0)
    assert statement.opening == 0
    assert statement.closing == statement.booked - statement.charged == standing.balance
    [charges] = [line for line in statement.lines if line.cycles]
    assert (charges.cycles, charges.price) == (3, 19 * CREDIT)
    text = signed_in(alice.owner).get("/billing").content.decode()
    assert "19.00 × 3 of 8,640" in text
    assert f"<strong>{money.text(standing.balance)}</strong> now" in text
    assert [row["cycle"] for row in api.get("/charges").json()["results"]] == [
        cycle.number_at(month) + number for number in (2, 1, 0)
    ]
    lines = signed_in(alice.owner).get("/billing/ledger.csv").getvalue().decode().splitlines()
    assert len(lines) == 5
    assert [line.split(",")[1] for line in lines] == ["kind", "grant", "charge", "charge", "charge"]


def test_earlier_months_end_where_the_next_begins(alice: Tenant, signed_in: Any) -> None:
    put(alice, plan=Plan.objects.get(name="Pro"))
    credit(alice, 38 * CREDIT)
    for day in range(1, 61, 7):
        cycle.run(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day))
    with alice.scope:
        january, february, march = (selectors.statement(datetime(2026, m, 5, tzinfo=UTC).date()) for m in (1, 2, 3))
    assert january.closing == february.opening
    assert february.closing == march.opening
    client = signed_in(alice.owner)
    assert "January 2026" in client.get("/billing?month=2026-01").content.decode()
    assert client.get("/billing?month=1").status_code == 404
    assert client.get("/billing?month=9999-12").status_code == 404


def test_billing_page_needs_a_constant_number_of_queries(
    alice: Tenant, signed_in: Any, django_assert_max_num_queries: Any
) -> None:
    put(alice, plan=Plan.objects.get(name="Pro"))
    credit(alice, 38 * CREDIT)
    for number in range(20):
        cycle.run(timezone.now() + number * timedelta(minutes=5))
    client = signed_in(alice.owner)
    client.get("/billing")
    with django_assert_max_num_queries(16):
        client.get("/billing")


def test_amounts_as_text() -> None:
    assert [money.text(amount) for amount in (0, 19 * CREDIT, -1, 2_199, 10_000, -5 * CREDIT)] == [
        "0.00", "19.00", "-0.000001", "0.002199", "0.01", "-5.00",
    ]  # fmt: skip
    assert money.parsed(" 19.9 ") == 19_900_000
    for words in ("x", "", "NaN", "Infinity", "0.0000001"):
        with pytest.raises(ValueError, match="Enter a number"):
            money.parsed(words)
