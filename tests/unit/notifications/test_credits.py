"""What billing tells, and what a plan and a freeze leave of alerts."""

from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from billing import events
from billing.models import Plan, Wallet
from notifications.kinds import Kind
from notifications.models import Notification
from notifications.outbox import record
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def subjects() -> list[str]:
    return [str(sent.subject) for sent in mail.outbox]


def test_each_account_is_told_of_its_own_credits(alice: Tenant, mallory: Tenant, deliver: Any) -> None:
    with transaction.atomic():
        events.balance_low.send(sender=None, account_ids=[alice.account.pk, mallory.account.pk])
        events.accounts_frozen.send(sender=None, account_ids=[alice.account.pk])
    deliver()
    told = sorted((sent.to[0], sent.subject) for sent in mail.outbox)
    assert told == [
        ("alice@example.com", "[Lumos] The balance of your account is low"),
        ("alice@example.com", "[Lumos] Your account is frozen"),
        ("mallory@example.com", "[Lumos] The balance of your account is low"),
    ]


def test_what_is_rolled_back_is_not_told(alice: Tenant, deliver: Any) -> None:
    with transaction.atomic():
        events.balance_low.send(sender=None, account_ids=[alice.account.pk])
        transaction.set_rollback(True)
    deliver()
    assert not Notification.unscoped.exists()


@pytest.mark.parametrize("holds_back", ["freeze", "plan"])
def test_alerts_wait_for_plan_and_credits_but_not_what_is_about_the_account(
    alice: Tenant, deliver: Any, holds_back: str
) -> None:
    wallets = Wallet.unscoped.filter(account_id=alice.account.pk)
    if holds_back == "freeze":
        wallets.update(frozen_at="2026-01-01T00:00:00Z")
    else:
        Plan.objects.filter(pk=wallets.get().plan_id).update(has_email_alerts=False)
    with alice.scope:
        record(Kind.SERVER_DOWN, key="a", title="a shield is down")
        record(Kind.ACCOUNT_FROZEN, key="b", title="frozen")
    deliver()
    assert subjects() == ["[Lumos] frozen"]
