"""The five-minute charge."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account, Role
from billing import cycle, events, ledger, money
from billing.entitlements import wallet_of
from billing.models import Cycle, Kind, LedgerEntry, Plan, Wallet
from billing.money import CREDIT
from tests import factories
from tests.factories import Tenant

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


@given(st.integers(0, money.PRICE_MAX), st.integers(0, 10**9))
def test_8640_cycles_cost_the_price_to_the_micro_credit(price: int, first: int) -> None:
    total = sum(money.charge(price, number) for number in range(first, first + money.CYCLES))
    assert total == price


def paying(tenant: Tenant, price: int, balance: int) -> Wallet:
    """Put a tenant on a plan of `price` with a balance."""
    plan = factories.plan(f"price {price}", price_microcredits=price)
    wallet_of(tenant.account.pk)
    Wallet.unscoped.filter(account=tenant.account).update(plan=plan)
    with tenant.scope:
        ledger.book(kind=Kind.GRANT, amount=balance, cause=f"start:{tenant.account.pk}")
    return wallet_of(tenant.account.pk)


@pytest.fixture
def heard() -> Any:
    """Return what was told: (signal, account ids)."""
    told: list[tuple[str, Any]] = []
    receivers = {}
    for name in ("balance_low", "accounts_frozen", "accounts_unfrozen"):

        def receive(sender: Any, account_ids: Any, name: str = name, **_: Any) -> None:
            told.append((name, account_ids))

        receivers[name] = receive
        getattr(events, name).connect(receive)
    yield told
    for name, receive in receivers.items():
        getattr(events, name).disconnect(receive)


@pytest.mark.django_db
def test_a_cycle_charges_once_however_often_it_runs(alice: Tenant, mallory: Tenant) -> None:
    paying(alice, 19 * CREDIT, 19 * CREDIT)
    assert cycle.run(NOON).accounts == 1
    assert cycle.run(NOON + timedelta(minutes=4)).accounts == 0
    Cycle.objects.update(finished_at=None)
    assert cycle.run(NOON).accounts == 0
    number = cycle.number_at(NOON)
    entry = LedgerEntry.unscoped.get(kind=Kind.CHARGE)
    assert (entry.cycle, entry.price_microcredits) == (number, 19 * CREDIT)
    assert entry.amount_microcredits == -money.charge(19 * CREDIT, number)
    assert wallet_of(alice.account.pk).balance_microcredits == 19 * CREDIT + entry.amount_microcredits
    assert wallet_of(mallory.account.pk).balance_microcredits == 0
    assert ledger.differences() == []


@pytest.mark.django_db
def test_missed_cycles_are_not_charged(alice: Tenant) -> None:
    paying(alice, 19 * CREDIT, 19 * CREDIT)
    cycle.run(NOON)
    cycle.run(NOON + timedelta(hours=5))
    assert LedgerEntry.unscoped.filter(kind=Kind.CHARGE).count() == 2


@pytest.mark.django_db
def test_an_amount_of_nothing_is_no_entry_and_no_reason_to_freeze(alice: Tenant) -> None:
    paying(alice, 1, 1)
    for number in range(3):
        cycle.run(NOON + number * FIVE_MINUTES)
    assert LedgerEntry.unscoped.count() == 1
    assert not wallet_of(alice.account.pk).is_frozen


@pytest.mark.django_db
def test_short_balance_freezes_and_a_deposit_of_one_price_unfreezes(alice: Tenant, heard: Any) -> None:
    price = 8_640
    paying(alice, price, 2 * price)
    assert heard == []
    cycle.run(NOON)
    cycle.run(NOON + FIVE_MINUTES)
    assert heard == [("balance_low", [alice.account.pk])]
    with alice.scope:
        ledger.book(kind=Kind.REFUND, amount=2 - 2 * price, cause="back")
    cycle.run(NOON + 2 * FIVE_MINUTES)
    assert wallet_of(alice.account.pk).is_frozen
    assert heard[1:] == [("accounts_frozen", [alice.account.pk])]
    before = wallet_of(alice.account.pk).balance_microcredits
    cycle.run(NOON + 3 * FIVE_MINUTES)
    assert wallet_of(alice.account.pk).balance_microcredits == before
    with alice.scope:
        ledger.book(kind=Kind.TOP_UP, amount=price - 1, cause="nearly")
        assert wallet_of(alice.account.pk).is_frozen
        ledger.book(kind=Kind.TOP_UP, amount=1, cause="enough")
    assert not wallet_of(alice.account.pk).is_frozen
    assert heard[2:] == [("accounts_unfrozen", [alice.account.pk])]
    with alice.scope:
        ledger.book(kind=Kind.TOP_UP, amount=2 * price, cause="plenty")
    cycle.run(NOON + 4 * FIVE_MINUTES)
    assert len(heard) == 3
    with alice.scope:
        ledger.book(kind=Kind.REFUND, amount=-2 * price, cause="again")
    cycle.run(NOON + 5 * FIVE_MINUTES)
    assert heard[3:] == [("balance_low", [alice.account.pk])]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_breaks_anywhere_is_finished_by_the_next(
    alice: Tenant, mallory: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycle, "WINDOW", 1)
    for tenant in (alice, mallory):
        paying(tenant, 19 * CREDIT, 19 * CREDIT)
    for broken in range(40):
        statements = 0

        def fail(execute: Any, *rest: Any, broken: int = broken) -> Any:
            nonlocal statements
            statements += 1
            if statements == broken:
                raise RuntimeError("power cut")
            return execute(*rest)

        moment = NOON + broken * FIVE_MINUTES
        try:
            with connection.execute_wrapper(fail):
                cycle.run(moment)
        except RuntimeError:
            cycle.run(moment)
        assert LedgerEntry.unscoped.filter(cycle=cycle.number_at(moment)).count() == 2
        assert ledger.differences() == []
    assert statements < broken, "the last runs were whole"


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
def test_two_workers_at_once_charge_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "WINDOW", 7)
    plan = factories.plan("paid", price_microcredits=19 * CREDIT)
    accounts = Account.objects.bulk_create([Account(name=str(n)) for n in range(100)])
    Wallet.unscoped.bulk_create([Wallet(account=one, plan=plan, balance_microcredits=CREDIT) for one in accounts])
    together, problems = threading.Barrier(2), []

    def work() -> None:
        try:
            for number in range(5):
                together.wait(60)
                cycle.run(NOON + number * FIVE_MINUTES)
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert problems == []
    assert LedgerEntry.unscoped.count() == 500
    due = sum(money.charge(plan.price_microcredits, cycle.number_at(NOON) + n) for n in range(5))
    assert set(Wallet.unscoped.values_list("balance_microcredits", flat=True)) == {CREDIT - due}
    assert Plan.objects.filter(pk=plan.pk).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
def test_an_open_window_stops_no_sign_in(signed_in: Any) -> None:
    alice = factories.tenant("alice", "alice.example")
    paying(alice, 19 * CREDIT, 19 * CREDIT)
    statuses: list[int] = []

    def visit() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
            client = signed_in(alice.owner)
            statuses.append(client.get("/").status_code)
            factories.member(alice.account, "guest", Role.VIEWER)
            statuses.append(client.post("/domains/add", {}).status_code)
        finally:
            connection.close()

    with transaction.atomic():
        assert cycle.run(NOON).accounts == 1
        visitor = threading.Thread(target=visit)
        visitor.start()
        visitor.join()
    assert statuses == [200, 200]
