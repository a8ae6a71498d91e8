"""The operator's pages of money."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from billing import cycle, top_ups
from billing.entitlements import wallet_of
from billing.models import LedgerEntry, Plan, TopUp, Wallet
from billing.money import CREDIT
from tests import factories, payments
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def with_factor(user: User) -> User:
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return user


@pytest.fixture
def operator(signed_in: Any) -> Client:
    user = User.objects.create_superuser("operator@example.com", factories.PASSWORD)
    client: Client = signed_in(with_factor(user))
    return client


@pytest.fixture
def stripe(settings: Any) -> Iterator[payments.Stripe]:
    with payments.imitation() as running:
        settings.STRIPE = running.settings
        yield running


def test_a_grant_needs_a_reason_and_counts_once(alice: Tenant, operator: Client) -> None:
    url = reverse("admin:billing_wallet_grant", args=[wallet_of(alice.account.pk).pk])
    found = re.search(r'name="key" value="([^"]+)"', operator.get(url).content.decode())
    assert found is not None
    data = {"amount": "12.5", "key": found[1]}
    assert "This field is required" in operator.post(url, data).content.decode()
    for _ in range(2):
        assert operator.post(url, {**data, "reason": "Sorry for the outage"}).status_code == 302
    assert wallet_of(alice.account.pk).balance_microcredits == 12_500_000
    entry = LedgerEntry.unscoped.get()
    assert entry.memo == "Sorry for the outage"
    audited = AuditEntry.unscoped.filter(account=alice.account, action="account.credits_granted")
    assert [row.actor.email for row in audited.select_related("actor")] == ["operator@example.com"]


def test_a_price_is_entered_in_credits(operator: Client) -> None:
    plan = Plan.objects.get(name="Pro")
    url = reverse("admin:billing_plan_change", args=[plan.pk])
    assert 'value="19.00"' in operator.get(url).content.decode()
    data = {"name": "Pro", "max_servers": 6, "analytics_hours": 168, "is_offered": "on", "has_api_keys": "on"}
    assert operator.post(url, {**data, "price": "21.5"}).status_code == 302
    plan.refresh_from_db()
    assert (plan.price_microcredits, plan.max_servers) == (21_500_000, 6)
    assert "Enter 0 to" in operator.post(url, {**data, "price": "-1"}).content.decode()


def test_the_operator_sets_a_plan_and_no_balance(alice: Tenant, operator: Client) -> None:
    pro, wallet = Plan.objects.get(name="Pro"), wallet_of(alice.account.pk)
    url = reverse("admin:billing_wallet_change", args=[wallet.pk])
    assert operator.post(url, {"plan": pro.pk, "balance_microcredits": 5}).status_code == 302
    wallet = wallet_of(alice.account.pk)
    assert (wallet.plan, wallet.balance_microcredits) == (pro, 0)


def test_a_refund_from_the_admin(alice: Tenant, operator: Client, stripe: payments.Stripe, client: Client) -> None:
    with alice.scope:
        row, _ = top_ups.start_top_up(amount=50 * CREDIT, actor=alice.owner)
    url = reverse("admin:billing_topup_refund", args=[row.pk])
    assert "Only a payment that was made" in operator.post(url, {"amount": "10"}).content.decode()
    payments.send(client, payments.completed(row))
    assert operator.post(url, {"amount": "10"}).status_code == 302
    payments.send(client, payments.refunded(row, 1_000))
    assert wallet_of(alice.account.pk).balance_microcredits == 40 * CREDIT
    assert TopUp.unscoped.get().refund_booked_microcredits == 10 * CREDIT


def test_every_list_opens_and_the_ledger_is_only_read(alice: Tenant, operator: Client) -> None:
    Wallet.unscoped.update(plan=Plan.objects.get(name="Pro"), balance_microcredits=CREDIT)
    cycle.run(alice.account.created_at)
    for model in ("plan", "wallet", "ledgerentry", "topup", "cycle"):
        assert operator.get(reverse(f"admin:billing_{model}_changelist")).status_code == 200
    entry = LedgerEntry.unscoped.get()
    for page in ("change", "delete"):
        url = reverse(f"admin:billing_ledgerentry_{page}", args=[entry.pk])
        assert operator.post(url, {"post": "yes"}).status_code == 403


def test_staff_without_permission_gives_nothing(alice: Tenant, signed_in: Any) -> None:
    clerk = User.objects.create_user("clerk@example.com", factories.PASSWORD, is_staff=True)
    url = reverse("admin:billing_wallet_grant", args=[wallet_of(alice.account.pk).pk])
    assert signed_in(with_factor(clerk)).post(url, {"amount": "1", "reason": "x"}).status_code == 403
    assert signed_in(alice.owner).post(url, {"amount": "1", "reason": "x"}).status_code in {302, 403}
    assert not LedgerEntry.unscoped.exists()
