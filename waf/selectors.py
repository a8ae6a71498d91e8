"""Named reads of events: pages by cursor, top lists, what was only counted, and CSV."""

import csv
import io
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, F, Func, Q, QuerySet, Sum, TextField

from accounts.tenancy import tenant_scope
from servers.models import Server
from waf.models import Event, EventCount

BATCH = 1_000
TOP = 10
TOP_LISTS = ("client", "country", "asn", "rule", "path", "host")
CSV_COLUMNS = (
    "time", "action", "client", "country", "asn", "method", "host", "path", "query", "user_agent", "rules", "score",
    "place", "matched", "request_id", "server",
)  # fmt: skip


class EventPage(NamedTuple):
    """Events, newest first, and the cursor of the next ones, or ""."""

    events: list[Event]
    older: str


def event_page(events: QuerySet[Event], cursor: str, size: int) -> EventPage:
    """Return up to `size` events after a cursor; what is no cursor begins anew."""
    rows = list(_after(events, cursor)[: size + 1])
    return EventPage(rows[:size], _cursor(rows[size - 1]) if len(rows) > size else "")


def _cursor(event: Event) -> str:
    return f"{event.created_at.isoformat()}_{event.pk}"


def _after(events: QuerySet[Event], cursor: str) -> QuerySet[Event]:
    time, _, pk = cursor.partition("_")
    try:
        at, last = datetime.fromisoformat(time), uuid.UUID(pk)
    except ValueError:
        return events
    if at.tzinfo is None:
        return events
    return events.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=last))


class _Elements(Func):
    """The texts of a JSON array, one row each."""

    function = "jsonb_array_elements_text"
    output_field = TextField()
    set_returning = True


def top_lists(events: QuerySet[Event]) -> dict[str, list[dict[str, Any]]]:
    """Return {client, country, asn, rule, path, host: [{value, events}]}, the most frequent first."""
    rows = events.order_by()
    located = {"country": rows.exclude(country=""), "asn": rows.exclude(asn=0)}
    values = {name: _Elements("rules") if name == "rule" else F(name) for name in TOP_LISTS}
    return {name: list(_counted(located.get(name, rows), value)[:TOP]) for name, value in values.items()}


def _counted(rows: QuerySet[Event], value: Any) -> Any:
    return rows.annotate(value=value).values("value").annotate(events=Count("pk")).order_by("-events", "value")


def only_counted(since: datetime) -> int:
    """Return how many events of the account's servers were counted, not stored, since the day of a time."""
    rows = EventCount.objects.filter(server__in=Server.objects.all(), day__gte=since.date())
    return int(rows.aggregate(total=Sum("counted"))["total"] or 0)


def csv_lines(events: QuerySet[Event], account_id: Any) -> Iterator[str]:
    """Yield CSV (RFC 4180) in batches of lines; the account's scope is opened for each, as the request's has ended."""
    yield _csv([CSV_COLUMNS])
    cursor = ""
    while True:
        with tenant_scope(account_id):
            found = event_page(events.select_related("server"), cursor, BATCH)
            lines = [_row(event) for event in found.events]
        yield _csv(lines)
        if not (cursor := found.older):
            return


def _row(event: Event) -> list[str]:
    values = {
        **{name: str(getattr(event, name)) for name in CSV_COLUMNS},
        "time": event.time.isoformat(),
        "asn": str(event.asn or ""),
        "rules": " ".join(event.rules),
        "server": event.server.name,
    }
    return [_cell(values[name]) for name in CSV_COLUMNS]


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv(rows: Any) -> str:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue()
