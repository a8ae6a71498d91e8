"""The charge of every five minutes, for all accounts, set by set.

A cycle is named by the Unix time divided by 300. Wallets are taken in windows of their ids; each window is one
transaction: plans that begin with this cycle, balances and their entries, freezes, warnings. What was
charged carries the cycle's number (a constraint on entries, `Wallet.cycle`), so a run that is repeated, or two at
once, charge what is left. A cycle that nobody ran is never charged.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet, Value
from django.utils import timezone

from billing import events, ledger, money
from billing.models import Cycle, Kind, LedgerEntry, Plan, Wallet

log = logging.getLogger(__name__)

WINDOW = 10_000


@dataclass
class Charged:
    """How many accounts were charged, and how many had too little."""

    accounts: int = 0
    frozen: int = 0


def number_at(moment: datetime) -> int:
    """Return the number of the cycle that `moment` lies in."""
    return int(moment.timestamp()) // money.CYCLE_SECONDS


def run(moment: datetime) -> Charged:
    """Charge the cycle of `moment`, or what is left of it."""
    number = number_at(moment)
    row, _ = Cycle.objects.get_or_create(number=number)
    total = Charged()
    if row.finished_at is not None:
        return total
    # Read once: an operator's new price holds from the next cycle on, and entries say the same as balances.
    prices = dict(Plan.objects.filter(price_microcredits__gt=0).values_list("pk", "price_microcredits"))
    after = 0
    while (last := _window_end(after)) is not None:
        part = _charge_window(number, prices, after, last)
        total.accounts += part.accounts
        total.frozen += part.frozen
        after = last
    Cycle.objects.filter(number=number).update(
        finished_at=timezone.now(), accounts=F("accounts") + total.accounts, frozen=F("frozen") + total.frozen
    )
    log.info("cycle_charged", extra={"cycle": number, "accounts": total.accounts, "frozen": total.frozen})
    return total


def _window_end(after: int) -> int | None:
    pks = Wallet.unscoped.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)
    return next(iter(pks[WINDOW - 1 : WINDOW]), None) or pks.last()


@transaction.atomic
def _charge_window(number: int, prices: dict[int, int], after: int, last: int) -> Charged:
    window = Wallet.unscoped.filter(pk__gt=after, pk__lte=last)
    left = window.filter(cycle__lt=number)
    paying = left.filter(plan__in=prices, frozen_at=None)
    concerned = paying | left.filter(next_plan_cycle__lte=number)
    # Locked in order, so that two runs cannot deadlock; whoever comes second finds nothing left.
    if not len(concerned.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True)):
        return Charged()
    _begin_plans(left, number)
    charged = Charged()
    for plan, price in prices.items():
        if amount := money.charge(price, number):
            due = left.filter(plan=plan, frozen_at=None)
            charged.accounts += _charge(due, window.filter(plan=plan), number, price, amount)
            charged.frozen += _freeze(due.filter(balance_microcredits__lt=amount))
    ledger.warn(window)
    return charged


def _begin_plans(left: QuerySet[Wallet], number: int) -> None:
    begun = list(left.filter(next_plan_cycle__lte=number).values_list("pk", flat=True))
    if begun:
        rows = Wallet.unscoped.filter(pk__in=begun)
        rows.update(plan=F("next_plan"), next_plan=None, next_plan_cycle=None)
        ledger.settle(begun)


def _charge(due: QuerySet[Wallet], window: QuerySet[Wallet], number: int, price: int, amount: int) -> int:
    """Take `amount` from the wallets of one plan that are due and have it; returns how many."""
    taken = due.filter(balance_microcredits__gte=amount).update(
        balance_microcredits=F("balance_microcredits") - amount, cycle=number
    )
    if not taken:
        return 0
    columns = {
        "account_id": F("account_id"),
        "created_at": Value(timezone.now()),
        "kind": Value(str(Kind.CHARGE)),
        "amount_microcredits": Value(-amount),
        "cycle": Value(number),
        "price_microcredits": Value(price),
        "cause": Value(""),
        "memo": Value(""),
    }
    named = {f"new_{column}": value for column, value in columns.items()}
    chosen = window.filter(cycle=number).order_by("pk").annotate(**named).values_list(*named)
    statement, values = chosen.query.sql_with_params()
    # Those that an earlier run charged have their entry.
    written = _execute(
        f"INSERT INTO {LedgerEntry._meta.db_table} ({', '.join(columns)}) {statement} ON CONFLICT DO NOTHING",
        values,
    )
    if written != taken:
        raise RuntimeError(f"{taken} balances but {written} entries in cycle {number}")
    return taken


def _freeze(short: QuerySet[Wallet]) -> int:
    found = dict(short.values_list("pk", "account_id"))
    if found:
        Wallet.unscoped.filter(pk__in=found).update(frozen_at=timezone.now())
        events.accounts_frozen.send(Wallet, account_ids=list(found.values()))
    return len(found)


def _execute(statement: str, values: Sequence[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
