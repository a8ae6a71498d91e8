"""The charge of every five minutes, for all accounts, set by set.

A cycle is named by the Unix time divided by 300. Wallets are taken in windows of their ids; each window is one
transaction: plans that begin with this cycle, entries, balances that follow the entries, freezes, warnings. What was
charged carries the cycle's number (a constraint on entries, `Wallet.cycle`), so a run that is repeated, or two at
once, charge what is left. A cycle that nobody ran is never charged.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, Expression, ExpressionWrapper, F, QuerySet, Value
from django.utils import timezone

from billing import events, ledger, money
from billing.models import Cycle, Kind, LedgerEntry, Wallet

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
    after = 0
    while (last := _window_end(after)) is not None:
        part = _charge_window(number, after, last)
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
def _charge_window(number: int, after: int, last: int) -> Charged:
    window = Wallet.unscoped.filter(pk__gt=after, pk__lte=last, cycle__lt=number)
    paying = window.filter(plan__price_microcredits__gt=0, frozen_at=None)
    concerned = paying | window.filter(next_plan_cycle__lte=number)
    # Locked in order, so that two runs cannot deadlock; whoever comes second finds nothing left.
    if not len(concerned.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk", flat=True)):
        return Charged()
    _begin_plans(window, number)
    due = paying.annotate(charge=_charge(number)).filter(charge__gt=0)
    _write_entries(due.filter(balance_microcredits__gte=F("charge")), number)
    accounts = _follow_entries(number, after, last)
    frozen = _freeze(due)
    ledger.warn(Wallet.unscoped.filter(pk__gt=after, pk__lte=last))
    return Charged(accounts=accounts, frozen=frozen)


def _charge(number: int) -> Expression:
    """Return `money.charge` of the wallet's plan as SQL; both databases divide integers downwards."""
    price, phase = F("plan__price_microcredits"), number % money.CYCLES
    return ExpressionWrapper(
        price * (phase + 1) / money.CYCLES - price * phase / money.CYCLES, output_field=BigIntegerField()
    )


def _begin_plans(window: QuerySet[Wallet], number: int) -> None:
    begun = list(window.filter(next_plan_cycle__lte=number).values_list("pk", flat=True))
    if begun:
        rows = Wallet.unscoped.filter(pk__in=begun)
        rows.update(plan=F("next_plan"), next_plan=None, next_plan_cycle=None)
        ledger.settle(begun)


def _write_entries(due: QuerySet[Wallet], number: int) -> None:
    columns = {
        "account_id": F("account_id"),
        "created_at": Value(timezone.now()),
        "kind": Value(str(Kind.CHARGE)),
        "amount_microcredits": -F("charge"),
        "cycle": Value(number),
        "price_microcredits": F("plan__price_microcredits"),
        "memo": Value(""),
    }
    named = {f"new_{column}": value for column, value in columns.items()}
    statement, values = due.order_by("pk").annotate(**named).values_list(*named).query.sql_with_params()
    table = LedgerEntry._meta.db_table
    _execute(f"INSERT INTO {table} ({', '.join(columns)}) {statement}", values)


def _follow_entries(number: int, after: int, last: int) -> int:
    entries, wallets = LedgerEntry._meta.db_table, Wallet._meta.db_table
    return _execute(
        f"""
        UPDATE {wallets} SET balance_microcredits = balance_microcredits + e.amount_microcredits, cycle = %s
        FROM {entries} e
        WHERE e.account_id = {wallets}.account_id AND e.cycle = %s
          AND {wallets}.id > %s AND {wallets}.id <= %s AND {wallets}.cycle < %s
        """,  # noqa: S608 - names of our own
        [number, number, after, last, number],
    )


def _freeze(due: QuerySet[Wallet]) -> int:
    short = dict(due.filter(balance_microcredits__lt=F("charge")).values_list("pk", "account_id"))
    if short:
        Wallet.unscoped.filter(pk__in=short).update(frozen_at=timezone.now())
        events.accounts_frozen.send(Wallet, account_ids=list(short.values()))
    return len(short)


def _execute(statement: str, values: Sequence[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
