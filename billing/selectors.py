"""Named reads for the billing page and the API."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from accounts.tenancy import active_account_id, tenant_scope
from billing import money
from billing.cycle import number_at
from billing.entitlements import wallet_of
from billing.ledger import LOW_FACTOR
from billing.models import Kind, LedgerEntry, Plan, Wallet

THIRTY_DAYS = timedelta(days=30)
FORECAST_DAYS = (7, 30, 90)
PER_DAY = 24 * 3600 // money.CYCLE_SECONDS
RUN_OUT_MAX = timedelta(days=100 * 365)
BATCH = 5_000


class Forecast(NamedTuple):
    """The balance some days from now, with the plan that comes next."""

    days: int
    balance: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an account stands, in micro-credits; `run_out_at` is None if nothing is charged or it lasts long."""

    plan: Plan
    next_plan: Plan | None
    next_plan_at: datetime | None
    balance: int
    is_frozen: bool
    is_low: bool
    low_below: int
    run_out_at: datetime | None
    forecast: list[Forecast]


def standing() -> Standing:
    """Return the standing of the account in scope."""
    wallet, now = wallet_of(active_account_id()), timezone.now()
    price = (wallet.next_plan or wallet.plan).price_microcredits
    return Standing(
        plan=wallet.plan,
        next_plan=wallet.next_plan,
        next_plan_at=_start_of(wallet.next_plan_cycle) if wallet.next_plan_cycle is not None else None,
        balance=wallet.balance_microcredits,
        is_frozen=wallet.is_frozen,
        is_low=wallet.low_at is not None,
        low_below=LOW_FACTOR * wallet.plan.price_microcredits,
        run_out_at=_run_out(wallet, price, now),
        forecast=[Forecast(days, max(0, wallet.balance_microcredits - price * days // 30)) for days in FORECAST_DAYS],
    )


def _start_of(cycle: int) -> datetime:
    return datetime.fromtimestamp(cycle * money.CYCLE_SECONDS, UTC)


def _run_out(wallet: Wallet, price: int, now: datetime) -> datetime | None:
    if not price or wallet.is_frozen or wallet.balance_microcredits < 0:
        return None
    cycles = wallet.balance_microcredits * money.CYCLES // price
    lasts = timedelta(seconds=cycles * money.CYCLE_SECONDS) if cycles < RUN_OUT_MAX.days * PER_DAY else RUN_OUT_MAX
    return None if lasts >= RUN_OUT_MAX else now + lasts


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a statement: a booking, or the charges of one day at one price."""

    day: date
    text: str
    amount: int
    cycles: int = 0
    price: int = 0


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One month: opening + booked - charged = closing."""

    month: date
    opening: int
    booked: int
    charged: int
    closing: int
    lines: list[Line]
    is_present: bool
    previous: date
    following: date


def statement(month: date) -> Statement:
    """Return the month that begins with `month`, newest line first."""
    begin = datetime(month.year, month.month, 1, tzinfo=UTC)
    end = (begin + timedelta(days=32)).replace(day=1)
    first, last = number_at(begin), number_at(end)
    charges = [
        Line(
            day=_start_of(row["day"] * PER_DAY).date(),
            text=Kind.CHARGE.label,
            amount=row["total"],
            cycles=row["cycles"],
            price=row["price_microcredits"],
        )
        for row in LedgerEntry.objects.filter(cycle__gte=first, cycle__lt=last)
        .order_by()
        .annotate(day=F("cycle") / PER_DAY)
        .values("day", "price_microcredits")
        .annotate(total=Sum("amount_microcredits"), cycles=Sum("cycles"))
    ]
    bookings = [
        Line(day=row.created_at.date(), text=_named(row), amount=row.amount_microcredits)
        for row in LedgerEntry.objects.filter(cycle=None, created_at__gte=begin, created_at__lt=end)
    ]
    later = LedgerEntry.objects.filter(Q(cycle__gte=last) | Q(cycle=None, created_at__gte=end))
    closing = wallet_of(active_account_id()).balance_microcredits - _sum(later)
    booked, charged = sum(line.amount for line in bookings), -sum(line.amount for line in charges)
    return Statement(
        month=begin.date(),
        opening=closing - booked + charged,
        booked=booked,
        charged=charged,
        closing=closing,
        lines=sorted([*bookings, *charges], key=lambda line: line.day, reverse=True),
        is_present=end > timezone.now(),
        previous=(begin - timedelta(days=1)).date().replace(day=1),
        following=end.date(),
    )


def _named(row: LedgerEntry) -> str:
    return f"{Kind(row.kind).label}: {row.memo}" if row.memo else Kind(row.kind).label


def _sum(rows: QuerySet[LedgerEntry]) -> int:
    return rows.aggregate(total=Sum("amount_microcredits"))["total"] or 0


def csv_lines(account_id: Any) -> Iterator[str]:
    """Yield all entries as CSV (RFC 4180), oldest first, in batches; the account's scope is opened for each."""
    yield _csv([("time", "kind", "amount", "cycle_began", "cycles", "price_per_30_days", "cause", "memo")])
    after = 0
    while True:
        with tenant_scope(account_id):
            rows = list(LedgerEntry.objects.filter(pk__gt=after).order_by("pk")[:BATCH])
        if not rows:
            return
        yield _csv(_cells(row) for row in rows)
        after = rows[-1].pk


def _cells(row: LedgerEntry) -> list[str]:
    began = "" if row.cycle is None else _start_of(row.cycle).isoformat()
    cycles = "" if row.cycle is None else str(row.cycles)
    price = "" if row.price_microcredits is None else money.text(row.price_microcredits)
    # An operator wrote the memo: no spreadsheet may take it for a formula.
    memo = f"'{row.memo}" if row.memo.startswith(("=", "+", "-", "@", "\t", "\r")) else row.memo
    return [
        row.created_at.isoformat(), row.kind, money.text(row.amount_microcredits), began, cycles, price, row.cause,
        memo,
    ]  # fmt: skip


def _csv(rows: Any) -> str:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue()
