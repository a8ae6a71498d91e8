"""Old charges, 288 a day, become one entry for each day and price: what was paid in all stays what it was.

Wallets are taken in windows of their ids, some days of each at once; a window is one transaction that holds its
wallets, so a run that breaks or is repeated changes nothing, and an account that is deleted meanwhile gets no entries.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Max, Min, Sum

from billing import money
from billing.cycle import number_at
from billing.models import Kind, LedgerEntry, Wallet

KEPT = timedelta(days=62)
PER_DAY = 24 * 3600 // money.CYCLE_SECONDS
WINDOW = 100
DAYS_AT_ONCE = 7
ENTRIES_PER_RUN = 5_000_000
_COLUMNS = ("id", "account", "created_at", "kind", "amount_microcredits", "cycle", "price_microcredits", "cycles",
            "cause", "memo")  # fmt: skip


def roll_up(now: datetime) -> int:
    """Roll up the charges of all accounts that are past their time; returns how many entries became fewer."""
    until = number_at(now - KEPT) // PER_DAY * PER_DAY
    rolled = 0
    while rolled < ENTRIES_PER_RUN:
        due = Wallet.unscoped.filter(rolled_until__lt=until).order_by("pk").values_list("pk", flat=True)[:WINDOW]
        if not (window := list(due)):
            break
        rolled += _window(window, until)
    return rolled


@transaction.atomic
def _window(wallets: list[int], until: int) -> int:
    rows = Wallet.unscoped.filter(pk__in=wallets, rolled_until__lt=until).order_by("pk")
    accounts = list(rows.select_for_update(no_key=True).values_list("account_id", flat=True))
    charges = LedgerEntry.unscoped.filter(account_id__in=accounts, kind=Kind.CHARGE, cycle__lt=until)
    charges = charges.filter(cycle__gte=rows.aggregate(since=Min("rolled_until"))["since"] or 0)
    first = charges.aggregate(first=Min("cycle"))["first"]
    end = until if first is None else min(until, (first // PER_DAY + DAYS_AT_ONCE) * PER_DAY)
    entries = 0 if first is None else _merge(charges.filter(cycle__lt=end))
    rows.update(rolled_until=end)
    return entries


def _merge(charges: Any) -> int:
    """Replace charges by those of whole days; returns how many there were."""
    days = list(
        charges.order_by()
        .annotate(day=F("cycle") / PER_DAY)
        .values_list("account_id", "day", "price_microcredits")
        .annotate(Min("pk"), Max("created_at"), Sum("amount_microcredits"), Min("cycle"), Sum("cycles"), Count("pk"))
    )
    new = [
        (pk, account, at, Kind.CHARGE, amount, cycle, price, cycles, "", "")
        for account, _, price, pk, at, amount, cycle, cycles, _ in days
    ]
    entries: int = sum(row[-1] for row in days)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config('lumos.rolls_up', 'on', true)")
        if charges.delete()[0] != entries:
            raise RuntimeError("charges changed while they were rolled up")
        cursor.executemany(*_insertion(new))
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config('lumos.rolls_up', '', true)")
    return entries


def _insertion(rows: list[tuple[Any, ...]]) -> tuple[str, list[list[Any]]]:
    """Return the statement that writes entries with the ids and times that they have, and its values."""
    fields: list[Any] = [LedgerEntry._meta.get_field(name) for name in _COLUMNS]
    names = ", ".join(str(field.column) for field in fields)
    values = [
        [field.get_db_prep_save(value, connection) for field, value in zip(fields, row, strict=True)] for row in rows
    ]
    places = ", ".join(["%s"] * len(fields))
    return f"INSERT INTO {LedgerEntry._meta.db_table} ({names}) VALUES ({places})", values  # noqa: S608 - names of a model
