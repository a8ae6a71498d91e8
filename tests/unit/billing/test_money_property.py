"""Whatever happens in whatever order, with crashes and two workers: balances are sums, and nothing counts twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.tenancy import tenant_scope
from billing import cycle, ledger, money, plans
from billing.models import Kind, LedgerEntry, Plan, TopUp, TopUpState, Wallet
from billing.money import CENT, CREDIT
from lumos.errors import AppError
from tests import factories, payments
from tests.factories import Tenant

BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)
PRICES = (0, 1, 8_641, 19 * CREDIT, 99_990_001, 30_000 * CREDIT)


class PowerCut(Exception):
    """The process died at this statement."""


@contextmanager
def power_cut(at: int | None) -> Iterator[None]:
    """Die at the `at`th statement that is not the test's own frame of savepoints."""
    left = at

    def execute(run: Any, sql: str, *rest: Any) -> Any:
        nonlocal left
        if left is not None and not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            left -= 1
            if left < 0:
                left = None
                raise PowerCut
        return run(sql, *rest)

    try:
        with connection.execute_wrapper(execute):
            yield
    except PowerCut:
        # Nothing reached the database; only Django believes that the test's own transaction is spoilt.
        connection.needs_rollback = False
        raise


class World:
    """Two accounts, a clock of cycles, and what must be true of them."""

    def __init__(self, tenants: list[Tenant]) -> None:
        self.tenants = tenants
        self.number = 0
        self.client = Client()
        self.top_ups: list[list[TopUp]] = [[], []]
        self.told: dict[Any, list[dict[str, Any]]] = {}

    def cycle(self, who: int, amount: int, at: int | None) -> None:
        """Let some cycles pass unseen, charge the next; a second worker does the same between two windows."""
        self.number += amount % 3
        moment = BEGIN + self.number * timedelta(minutes=5)
        charge, seconds = cycle._charge_window, list[int]()

        def interrupted(*window: Any) -> Any:
            if not seconds:
                seconds.append(who)
                cycle.run(moment)
            return charge(*window)

        with patch.object(cycle, "WINDOW", 1), patch.object(cycle, "_charge_window", interrupted):
            try:
                with power_cut(at):
                    cycle.run(moment)
            except PowerCut:
                cycle.run(moment)

    def top_up(self, who: int, amount: int, at: int | None) -> None:
        """Begin a payment."""
        with self.tenants[who].scope:
            row = TopUp(provider="stripe", amount_microcredits=amount * CENT, currency="eur")
            row.save()
        self.top_ups[who].append(row)

    def pay(self, who: int, amount: int, at: int | None) -> None:
        """Hear of a payment: new, or the same again."""
        if self.top_ups[who]:
            row = self.top_ups[who][amount % len(self.top_ups[who])]
            self._hear(row, payments.completed(row), amount, at)

    def refund(self, who: int, amount: int, at: int | None) -> None:
        """Hear that some of a payment went back, perhaps before it is known to be made."""
        if self.top_ups[who]:
            row = self.top_ups[who][amount % len(self.top_ups[who])]
            cents = min(amount, row.amount_microcredits // CENT)
            self._hear(row, payments.refunded(row, cents), amount, at)

    def dispute(self, who: int, amount: int, at: int | None) -> None:
        """Hear that a bank took a payment back, or gave it again; messages are late at times."""
        if self.top_ups[who]:
            row = self.top_ups[who][amount % len(self.top_ups[who])]
            self._hear(row, payments.disputed(row, amount, is_withdrawn=amount % 2 == 0), amount, at)

    def _hear(self, row: TopUp, new: dict[str, Any], amount: int, at: int | None) -> None:
        known = self.told.setdefault(row.pk, [])
        told = known[amount % len(known)] if known and amount % 3 == 0 else new
        known.append(told)
        try:
            with power_cut(at):
                payments.send(self.client, told)
        except PowerCut:
            payments.send(self.client, told)

    def grant(self, who: int, amount: int, at: int | None) -> None:
        """Give or take credits; decisions with the same key are one."""
        tenant = self.tenants[who]
        for end in (at, None):
            try:
                with power_cut(end), tenant.scope:
                    sign = -1 if amount % 5 == 0 else 1
                    ledger.grant(amount=sign * amount * CENT, reason="r", actor=tenant.owner, key=f"{who}-{amount}")
            except PowerCut:
                continue

    def plan(self, who: int, amount: int, at: int | None) -> None:
        """Choose a plan, if it may be chosen."""
        chosen = Plan.objects.get(name=f"plan {amount % len(PRICES)}")
        try:
            with power_cut(at), self.tenants[who].scope:
                plans.choose_plan(plan=chosen, actor=self.tenants[who].owner)
        except (AppError, PowerCut):
            return

    def check(self) -> None:
        """Compare everything that can be compared."""
        assert ledger.differences() == []
        for tenant in self.tenants:
            with tenant.scope:
                self._check_account()

    def _check_account(self) -> None:
        charges = list(LedgerEntry.objects.filter(kind=Kind.CHARGE))
        assert len({entry.cycle for entry in charges}) == len(charges) <= self.number + 1
        for entry in charges:
            assert entry.cycle is not None
            assert entry.price_microcredits is not None
            assert -entry.amount_microcredits == money.charge(entry.price_microcredits, entry.cycle)
        paid = TopUp.objects.filter(state=TopUpState.PAID)
        assert self._sum(Kind.TOP_UP) == sum(row.amount_microcredits for row in paid)
        assert -self._sum(Kind.REFUND) == sum(row.refunded_microcredits for row in paid)
        assert -self._sum(Kind.CHARGEBACK) == sum(row.disputed_microcredits for row in paid)
        for row in TopUp.objects.all():
            told = self.told.get(row.pk, [])
            kinds = {event["type"] for event in told}
            assert (row.state == TopUpState.PAID) == ("checkout.session.completed" in kinds)
            refunds = [event["data"]["object"].get("amount_refunded", 0) for event in told]
            assert row.refunded_microcredits == max(refunds, default=0) * CENT
        assert LedgerEntry.objects.filter(kind=Kind.GRANT).count() == len(
            set(LedgerEntry.objects.filter(kind=Kind.GRANT).values_list("cause", flat=True))
        )

    def _sum(self, kind: Kind) -> int:
        return sum(LedgerEntry.objects.filter(kind=kind).values_list("amount_microcredits", flat=True))


STEPS = st.tuples(
    st.sampled_from(["cycle", "cycle", "cycle", "top_up", "pay", "pay", "refund", "dispute", "grant", "plan", "plan"]),
    st.integers(0, 1),
    st.integers(1, 20_000),
    st.none() | st.integers(0, 25),
)


@pytest.mark.django_db
@settings(max_examples=30)
@given(st.lists(STEPS, max_size=25))
def test_money_stays_right(alice: Tenant, mallory: Tenant, settings: Any, steps: list[Any]) -> None:
    settings.STRIPE = {
        "secret_key": payments.KEY,
        "webhook_secret": payments.WEBHOOK_SECRET,
        "api_url": "http://[::1]:1",
    }
    with transaction.atomic():
        for number, price in enumerate(PRICES):
            factories.plan(f"plan {number}", price_microcredits=price, is_offered=True)
        Wallet.unscoped.update(plan=Plan.objects.get(name="plan 3"))
        with tenant_scope(alice.account.pk):
            ledger.book(kind=Kind.GRANT, amount=20 * CREDIT, cause="start")
        with patch("billing.plans.timezone.now") as now:
            world = World([alice, mallory])
            for name, who, amount, at in steps:
                now.return_value = BEGIN + world.number * timedelta(minutes=5)
                getattr(world, name)(who, amount, at)
                world.check()
        transaction.set_rollback(True)
