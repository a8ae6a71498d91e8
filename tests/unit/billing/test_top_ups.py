"""Buying credits through Stripe: what it tells is believed when signed, and carried out once in any order."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry
from billing import ledger, top_ups
from billing.entitlements import wallet_of
from billing.models import LedgerEntry, ProviderEvent, TopUp, TopUpState
from billing.money import CREDIT
from lumos.errors import AppError
from tests import payments
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def stripe(settings: Any) -> Iterator[payments.Stripe]:
    with payments.imitation() as running:
        settings.STRIPE = running.settings
        yield running


@pytest.fixture
def top_up(alice: Tenant, stripe: payments.Stripe) -> TopUp:
    with alice.scope:
        return top_ups.start_top_up(amount=50 * CREDIT, actor=alice.owner)[0]


def balance(tenant: Tenant) -> int:
    return wallet_of(tenant.account.pk).balance_microcredits


def test_a_checkout_asks_for_the_amount_and_names_the_top_up(
    alice: Tenant, stripe: payments.Stripe, signed_in: Any
) -> None:
    answer = signed_in(alice.owner).post("/billing/top-up", {"amount": "19.90"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("https://checkout.stripe.com/c/cs_")
    with alice.scope:
        row = TopUp.objects.get()
    [(path, form)] = stripe.calls.values()
    assert path == "/v1/checkout/sessions"
    assert form["line_items[0][price_data][unit_amount]"] == "1990"
    assert form["line_items[0][price_data][currency]"] == "eur"
    assert form["metadata[lumos_top_up]"] == form["payment_intent_data[metadata][lumos_top_up]"] == str(row.pk)
    assert balance(alice) == 0
    page = signed_in(alice.owner).get("/billing")
    assert "form-action 'self' https://checkout.stripe.com" in page["Content-Security-Policy"]


def test_a_payment_is_credited_once(alice: Tenant, mallory: Tenant, top_up: TopUp, client: Client) -> None:
    told = payments.completed(top_up)
    for _ in range(3):
        assert payments.send(client, told).status_code == 200
    assert payments.send(client, payments.completed(top_up)).status_code == 200
    assert (balance(alice), balance(mallory)) == (50 * CREDIT, 0)
    top_up.refresh_from_db()
    assert (top_up.state, top_up.payment) == (TopUpState.PAID, f"pi_{top_up.pk.hex}")


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_messages_does_not_matter(alice: Tenant, top_up: TopUp, client: Client, order: Any) -> None:
    about = {"id": "cs_1", "metadata": {"lumos_top_up": str(top_up.pk)}}
    told = [
        payments.event("checkout.session.expired", about),
        payments.completed(top_up),
        payments.refunded(top_up, 1_000),
        payments.refunded(top_up, 3_000),
    ]
    for index in order:
        assert payments.send(client, told[index]).status_code == 200
    assert balance(alice) == 20 * CREDIT
    assert ledger.differences() == []
    top_up.refresh_from_db()
    assert top_up.state == TopUpState.PAID


def test_unsigned_old_and_broken_messages_are_refused(top_up: TopUp, client: Client) -> None:
    told = payments.completed(top_up)
    answers = [
        payments.send(client, told, secret="whsec_other"),
        payments.send(client, told, age=301),
        payments.send(client, b"\xff\xfe"),
        payments.send(client, b"[]"),
        payments.send(client, b'{"id": "evt_1"}'),
        client.post(payments.URL, b"{}", content_type="application/json"),
    ]
    assert [answer.status_code for answer in answers] == [400] * 6
    assert answers[0].json()["type"] == "urn:lumos:problem:signature"
    assert not LedgerEntry.unscoped.exists()
    assert not ProviderEvent.objects.exists()


def test_messages_about_something_else_are_taken_and_ignored(alice: Tenant, top_up: TopUp, client: Client) -> None:
    stranger = TopUp(amount_microcredits=CREDIT)
    for told in (
        payments.event("customer.created", {"id": "cus_1"}),
        payments.completed(stranger),
        payments.completed(top_up, paid=False),
        payments.completed(top_up, cents=1),
        payments.completed(top_up, currency="usd"),
    ):
        assert payments.send(client, told).status_code == 200
    assert balance(alice) == 0


def test_a_slow_payment_that_succeeds_or_fails(alice: Tenant, top_up: TopUp, client: Client) -> None:
    done = payments.completed(top_up)
    payments.send(client, payments.event("checkout.session.async_payment_failed", done["data"]["object"]))
    top_up.refresh_from_db()
    assert top_up.state == TopUpState.EXPIRED
    payments.send(client, payments.event("checkout.session.async_payment_succeeded", done["data"]["object"]))
    assert balance(alice) == 50 * CREDIT


def test_a_message_that_fails_half_way_is_carried_out_when_it_comes_again(
    alice: Tenant, top_up: TopUp, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = payments.completed(top_up)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "settle", lambda wallets: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            payments.send(client, told)
    assert balance(alice) == 0
    payments.send(client, told)
    assert balance(alice) == 50 * CREDIT


def test_a_refund_is_asked_for_once_and_booked_when_it_is_done(
    alice: Tenant, stripe: payments.Stripe, top_up: TopUp, client: Client
) -> None:
    payments.send(client, payments.completed(top_up))
    top_up.refresh_from_db()
    with alice.scope:
        for _ in range(2):
            top_ups.refund_top_up(top_up=top_up, amount=20 * CREDIT, actor=alice.owner)
        for amount in (51 * CREDIT, 0, 1):
            with pytest.raises(AppError):
                top_ups.refund_top_up(top_up=top_up, amount=amount, actor=alice.owner)
    [form] = stripe.refunds()
    assert form == {"payment_intent": f"pi_{top_up.pk.hex}", "amount": "2000"}
    assert balance(alice) == 50 * CREDIT
    payments.send(client, payments.refunded(top_up, 2_000))
    assert balance(alice) == 30 * CREDIT


def test_a_disputed_payment_is_taken_back_and_given_again(alice: Tenant, top_up: TopUp, client: Client) -> None:
    payments.send(client, payments.completed(top_up))
    taken, given = payments.disputed(top_up, 100), payments.disputed(top_up, 200, is_withdrawn=False)
    for told, expected in ((taken, 0), (taken, 0), (given, 50), (taken, 50), (payments.disputed(top_up, 150), 50)):
        assert payments.send(client, told).status_code == 200
        assert balance(alice) == expected * CREDIT
    payments.send(client, payments.disputed(top_up, 300))
    assert balance(alice) == 0
    assert ledger.differences() == []
    with alice.scope, pytest.raises(AppError, match="can be given back"):
        top_ups.refund_top_up(top_up=TopUp.objects.get(), amount=CREDIT, actor=alice.owner)


def test_what_was_used_is_not_given_back(alice: Tenant, top_up: TopUp, client: Client) -> None:
    payments.send(client, payments.completed(top_up))
    top_up.refresh_from_db()
    with alice.scope:
        ledger.grant(amount=-40 * CREDIT, reason="used", actor=alice.owner, key="1")
        with pytest.raises(AppError, match=r"At most 10\.00"):
            top_ups.refund_top_up(top_up=top_up, amount=11 * CREDIT, actor=alice.owner)


def test_a_provider_that_refuses_says_why(alice: Tenant, stripe: payments.Stripe, api: Api, signed_in: Any) -> None:
    stripe.fails = True
    page = signed_in(alice.owner).post("/billing/top-up", {"amount": "20"})
    assert "Stripe could not be reached or refused" in page.content.decode()
    assert api.post("/top-ups", {"amount_microcredits": 20 * CREDIT}).status_code == 502


@pytest.mark.parametrize("amount", ["4.99", "10001", "x", "", "NaN", "-5", "5.001", "1e99"])
def test_amounts_that_cannot_be_paid(alice: Tenant, stripe: payments.Stripe, signed_in: Any, amount: str) -> None:
    page = signed_in(alice.owner).post("/billing/top-up", {"amount": amount})
    assert "invalid-feedback" in page.content.decode()
    assert not stripe.calls


def test_without_a_provider_only_the_operator_gives_credits(
    alice: Tenant, api: Api, client: Client, signed_in: Any
) -> None:
    assert "The operator of this installation adds credits" in signed_in(alice.owner).get("/billing").content.decode()
    answer = api.post("/top-ups", {"amount_microcredits": 20 * CREDIT})
    assert answer.status_code == 409
    assert client.post(payments.URL, b"{}", content_type="application/json").status_code == 404


def test_api_top_up_and_receipt(
    alice: Tenant, stripe: payments.Stripe, api: Api, client: Client, signed_in: Any
) -> None:
    made = api.post("/top-ups", {"amount_microcredits": 20 * CREDIT})
    assert made.status_code == 201
    assert made.json()["url"].startswith("https://checkout.stripe.com/")
    with alice.scope:
        row = TopUp.objects.get()
        assert AuditEntry.objects.filter(action="account.top_up_started").exists()
    payments.send(client, payments.completed(row))
    assert api.get(f"/top-ups/{row.pk}").json()["state"] == "paid"
    assert api.get("/ledger").json()["results"][0]["amount_microcredits"] == 20 * CREDIT
    receipt = signed_in(alice.owner).get(f"/billing/receipts/{row.pk}").content.decode()
    assert "20.00 EUR" in receipt
    assert f"pi_{row.pk.hex}" in receipt
    assert "Receipt" in signed_in(alice.owner).get("/billing").content.decode()
