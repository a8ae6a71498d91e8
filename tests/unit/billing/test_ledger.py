"""Bookings, the protection of the ledger, and the check of balances."""

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from billing import ledger
from billing.entitlements import wallet_of
from billing.models import Kind, LedgerEntry, Wallet
from billing.money import CREDIT
from lumos.errors import InvalidInput
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def grant(tenant: Tenant, amount: int = 5 * CREDIT, cause: str = "grant:1") -> LedgerEntry:
    with tenant.scope:
        return ledger.book(kind=Kind.GRANT, amount=amount, cause=cause)


def test_a_booking_moves_the_balance_once(alice: Tenant, mallory: Tenant) -> None:
    first, again = grant(alice), grant(alice)
    assert first.pk == again.pk
    assert wallet_of(alice.account.pk).balance_microcredits == 5 * CREDIT
    assert wallet_of(mallory.account.pk).balance_microcredits == 0
    assert LedgerEntry.unscoped.count() == 1


def test_nothing_cannot_be_booked(alice: Tenant) -> None:
    with pytest.raises(InvalidInput):
        grant(alice, 0)


def test_a_booking_that_fails_half_way_leaves_nothing(alice: Tenant) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise RuntimeError("power cut")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail), pytest.raises(RuntimeError):
        grant(alice)
    assert not LedgerEntry.unscoped.exists()
    assert grant(alice).amount_microcredits == 5 * CREDIT


def test_the_database_refuses_changes_of_entries(alice: Tenant) -> None:
    entry = grant(alice)
    with transaction.atomic(), pytest.raises(DatabaseError, match="never changed"):
        LedgerEntry.unscoped.filter(pk=entry.pk).update(amount_microcredits=1)
    if connection.vendor == "postgresql":
        with transaction.atomic(), pytest.raises(DatabaseError, match="never changed"):
            LedgerEntry.unscoped.filter(pk=entry.pk).delete()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
def test_a_deletion_waits_for_bookings_before_it_deletes_any(alice: Tenant) -> None:
    grant(alice)
    with CaptureQueriesContext(connection) as queries:
        alice.account.delete()
    touched = [query["sql"] for query in queries if '"billing_' in query["sql"]]
    assert touched[0].startswith("SELECT")
    assert "FOR UPDATE" in touched[0]
    assert any(sql.startswith('DELETE FROM "billing_ledgerentry"') for sql in touched)


def test_an_account_takes_its_entries_with_it_and_no_others(alice: Tenant, mallory: Tenant) -> None:
    grant(alice)
    grant(mallory, cause="grant:2")
    Account.objects.filter(pk=alice.account.pk).delete()
    assert list(LedgerEntry.unscoped.values_list("account_id", flat=True)) == [mallory.account.pk]


def test_the_check_finds_a_balance_that_is_not_the_sum(
    alice: Tenant, mallory: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "CHECK_BATCH", 1)
    grant(alice)
    assert ledger.differences() == []
    Wallet.unscoped.filter(account=mallory.account).update(balance_microcredits=1)
    assert ledger.differences() == [mallory.account.pk]
