"""Old charges by day: every sum, balance and statement stays what it was, however often and whenever it runs."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import ledger, money, rollup, selectors
from billing.cycle import number_at
from billing.entitlements import wallet_of
from billing.models import Kind, LedgerEntry, Wallet
from billing.money import CREDIT
from tests.factories import Tenant

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
FIRST = number_at(BEGIN)
CHARGES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 12 * rollup.PER_DAY), st.sampled_from([8_641, 19 * CREDIT])),
    unique_by=lambda charge: charge[:2],
    max_size=60,
)


def charge(tenant: Tenant, cycle: int, price: int) -> None:
    """Take what a cycle costs, as billing/cycle.py does for all at once."""
    amount = money.charge(price, cycle)
    with tenant.scope:
        wallet = wallet_of(tenant.account.pk)
        LedgerEntry.objects.create(kind=Kind.CHARGE, amount_microcredits=-amount, cycle=cycle, price_microcredits=price)
        balance = wallet.balance_microcredits - amount
        Wallet.objects.filter(pk=wallet.pk).update(balance_microcredits=balance)


@pytest.mark.django_db
@settings(max_examples=15)
@given(charges=CHARGES, days=st.lists(st.integers(0, 14), max_size=3))
def test_nothing_but_the_number_of_entries_changes(
    alice: Tenant, mallory: Tenant, charges: list[tuple[int, int, int]], days: list[int]
) -> None:
    tenants = (alice, mallory)
    with transaction.atomic():
        for who, offset, price in charges:
            charge(tenants[who], FIRST + offset, price)
        with alice.scope:
            ledger.book(kind=Kind.GRANT, amount=CREDIT, cause="start")
        before = [shown(tenant) for tenant in tenants]
        for day in days:
            rollup.roll_up(BEGIN + timedelta(days=day) + rollup.KEPT)
            assert [shown(tenant) for tenant in tenants] == before
            assert ledger.differences() == []
            old = LedgerEntry.unscoped.filter(kind=Kind.CHARGE, cycle__lt=FIRST + day * rollup.PER_DAY)
            named = [(row.account_id, row.cycle // rollup.PER_DAY, row.price_microcredits) for row in old]
            assert len(named) == len(set(named))
        transaction.set_rollback(True)


def shown(tenant: Tenant) -> Any:
    """Return what the customer sees of a month."""
    with tenant.scope:
        found = selectors.statement(date(2026, 3, 1))
        return found, sorted((line.day, line.amount, line.cycles, line.price) for line in found.lines)


@pytest.mark.django_db
def test_entries_are_protected_but_in_a_roll_up(alice: Tenant) -> None:
    for offset in range(3):
        charge(alice, FIRST + offset, 19 * CREDIT)
    assert rollup.roll_up(BEGIN + rollup.KEPT) == 0
    assert rollup.roll_up(BEGIN + timedelta(days=1) + rollup.KEPT) == 3
    entry = LedgerEntry.unscoped.get()
    assert (entry.cycle, entry.cycles) == (FIRST, 3)
    assert rollup.roll_up(BEGIN + timedelta(days=2) + rollup.KEPT) == 0
    if connection.vendor == "postgresql":
        with transaction.atomic(), pytest.raises(DatabaseError, match="never changed"):
            entry.delete()
