# ruff: noqa: S608 - the names in these statements are those of models
"""Adding to counters in one statement, so that no count is lost to a row that appears or goes meanwhile.

Django's upsert can replace values and not add to them, so this is SQL that PostgreSQL and SQLite both know (INSERT ...
ON CONFLICT DO UPDATE). All names come from models.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.utils import DataError
from django.utils import timezone

from servers.metric_models import Counted, Counters
from servers.models import BatchCursor

ROWS_PER_STATEMENT = 500

HOUR = 3600
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
Key = tuple[Any, ...]


def hour_of(seconds: int, now: datetime) -> datetime:
    """Return the hour of a Unix time, or the present one if it has not come yet: a shield's clock may be wrong.

    Raises:
        DataError: it is no time.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    try:
        return min(max(datetime.fromtimestamp(seconds - seconds % HOUR, UTC), _EARLIEST), this_hour)
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(f"hour {seconds} is out of range") from error


def add(model: type[Counted], account_id: uuid.UUID, counts: Mapping[Key, Mapping[str, int]]) -> None:
    """Add {key as `model.KEY` names it: {name of a counter: count}} inside the caller's transaction.

    Rows are taken in the order of their keys, so that two callers do not wait for each other.
    """
    pk = model._meta.pk
    fixed = ["account", "created_at", *([pk.name] if pk.has_default() else [])]
    rare = [name for name in model.RARE if any(counted.get(name) for counted in counts.values())]
    names, now = [*fixed, *model.KEY, *model.COUNTERS, *rare], timezone.now()
    rows = [
        (
            *(account_id, now, *([pk.get_default()] if pk.has_default() else []), *key),
            *(counts[key].get(name, 0) for name in model.COUNTERS),
            *(counts[key].get(name) or None for name in rare),
        )
        for key in sorted(counts)
    ]
    place = f"({', '.join(['%s'] * len(names))})"
    for first in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[first : first + ROWS_PER_STATEMENT]
        values = [_prepared(model, name, value) for row in part for name, value in zip(names, row, strict=True)]
        rows_sql = f"VALUES {', '.join([place] * len(part))}"
        with connection.cursor() as cursor:
            cursor.execute(_adding(model, names, rows_sql), values)


@transaction.atomic
def move_day(source: type[Counters], target: type[Counters], *, server_id: uuid.UUID, day: date) -> int:
    """Move a server's hours of one day (UTC) into its rows of that day, adding to what is there; returns rows moved.

    Batches of that server wait meanwhile: one that is late could hold one of these hours and want another.
    """
    list(BatchCursor.objects.select_for_update().filter(server_id=server_id).order_by("pk"))
    begin = datetime.combine(day, time(), UTC)
    chosen = f"{_quoted(source._meta.db_table)} WHERE server_id = %s AND hour >= %s AND hour < %s"
    bounds = [
        _prepared(source, "server", server_id),
        _prepared(source, "hour", begin),
        _prepared(source, "hour", begin + timedelta(days=1)),
    ]
    values = [_prepared(target, "created_at", timezone.now()), _prepared(target, "day", day)]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            moved = f"WITH gone AS (DELETE FROM {chosen} RETURNING *), placed AS ({_summed(target, 'gone WHERE true')})"
            cursor.execute(f"{moved} SELECT count(*) FROM gone", bounds + values)
            return int(cursor.fetchone()[0])
        # A transaction on SQLite is alone (IMMEDIATE), so both statements see the same rows.
        cursor.execute(_summed(target, chosen), values + bounds)
        cursor.execute(f"DELETE FROM {chosen}", bounds)
        return int(cursor.rowcount)


def _summed(target: type[Counters], rows: str) -> str:
    """Return the statement that adds the sums of `rows` to days; its values are the time of now and the day."""
    parents = ["account", *target.KEY[:-1]]
    columns = ", ".join(_columns(target, parents))
    counters = [*target.COUNTERS, *target.RARE]
    sums = ", ".join(f"SUM({name})" for name in _columns(target, counters))
    selected = f"SELECT %s, %s, {columns}, {sums} FROM {rows} GROUP BY {columns}"
    return _adding(target, ["created_at", "day", *parents, *counters], selected)


def _adding(model: type[Counted], names: Sequence[str], rows: str) -> str:
    table, key = _quoted(model._meta.db_table), ", ".join(_columns(model, model.KEY))
    counters = [f"{name} = {table}.{name} + EXCLUDED.{name}" for name in _columns(model, model.COUNTERS)]
    rare = [
        f"{name} = COALESCE({table}.{name} + EXCLUDED.{name}, {table}.{name}, EXCLUDED.{name})"
        for name in _columns(model, [name for name in model.RARE if name in names])
    ]
    added = ", ".join(counters + rare)
    into = f"{table} ({', '.join(_columns(model, names))})"
    return f"INSERT INTO {into} {rows} ON CONFLICT ({key}) DO UPDATE SET {added}"


def _columns(model: type[Counted], names: Iterable[str]) -> list[str]:
    return [_quoted(str(_field(model, name).column)) for name in names]


def _prepared(model: type[Counted], name: str, value: Any) -> Any:
    return _field(model, name).get_db_prep_save(value, connection)


def _field(model: type[Counted], name: str) -> Any:
    return model._meta.get_field(name)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
