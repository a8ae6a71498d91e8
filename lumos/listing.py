"""Long lists, newest first: pages by cursor, and CSV without end."""

import csv
import io
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from accounts.tenancy import tenant_scope

BATCH = 1_000


class Slice(NamedTuple):
    """Rows, newest first, and the cursor of the next ones, or ""."""

    rows: list[Any]
    older: str


def slice_after(rows: QuerySet[Any], cursor: str, size: int) -> Slice:
    """Return up to `size` rows, which are ordered by falling `created_at`; what is no cursor begins anew."""
    found = list(_after(rows.order_by("-created_at", "-pk"), cursor)[: size + 1])
    return Slice(found[:size], _cursor(found[size - 1]) if len(found) > size else "")


def _cursor(row: Any) -> str:
    return f"{row.created_at.isoformat()}_{row.pk}"


def _after(rows: QuerySet[Any], cursor: str) -> QuerySet[Any]:
    time, _, pk = cursor.partition("_")
    try:
        at, last = datetime.fromisoformat(time), uuid.UUID(pk)
    except ValueError:
        return rows
    if at.tzinfo is None:
        return rows
    return rows.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=last))


def csv_lines(
    rows: QuerySet[Any], columns: Sequence[str], cells: Callable[[Any], Iterable[str]], account_id: uuid.UUID
) -> Iterator[str]:
    """Yield CSV (RFC 4180) in batches of lines; the account's scope is opened for each, as the request's has ended."""
    yield _csv([columns])
    cursor = ""
    while True:
        with tenant_scope(account_id):
            found = slice_after(rows, cursor, BATCH)
            lines = [[_cell(text) for text in cells(row)] for row in found.rows]
        yield _csv(lines)
        if not (cursor := found.older):
            return


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv(rows: Iterable[Iterable[str]]) -> str:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue()
