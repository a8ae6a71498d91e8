"""Named reads of events: top lists, what was only counted, and CSV."""

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Func, QuerySet, Sum, TextField

from lumos.listing import csv_lines
from servers.models import Server
from waf.models import Event, EventCount

TOP = 10
TOP_OF = 5_000
TOP_OF_BLOCKED = ("client", "country", "path", "host")
STOPPED = ("block", "limit", "challenge")
TOP_LISTS = ("client", "country", "asn", "rule", "path", "host")
CSV_COLUMNS = (
    "time", "action", "client", "country", "asn", "method", "host", "path", "query", "user_agent", "rules", "score",
    "place", "matched", "request_id", "server",
)  # fmt: skip


class _Elements(Func):
    """The texts of a JSON array, one row each."""

    function = "jsonb_array_elements_text"
    output_field = TextField()
    set_returning = True


def top_lists(events: QuerySet[Event]) -> dict[str, list[dict[str, Any]]]:
    """Return {client, country, asn, rule, path, host: [{value, events}]}, the most frequent first."""
    rows = events.order_by()
    located = {"country": rows.exclude(country=""), "asn": rows.exclude(asn=0)}
    return {
        name: _top_rules(rows) if name == "rule" else list(_counted(located.get(name, rows), F(name))[:TOP])
        for name in TOP_LISTS
    }


def _top_rules(rows: QuerySet[Event]) -> list[dict[str, Any]]:
    """Return the rules that objected most often; SQLite has no function that makes rows of JSON."""
    if connection.vendor == "postgresql":
        return list(_counted(rows, _Elements("rules"))[:TOP])
    counts = Counter(rule for told in rows.values_list("rules", flat=True).iterator() for rule in told)
    frequent = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    return [{"value": rule, "events": events} for rule, events in frequent[:TOP]]


def top_of_blocked(events: QuerySet[Event]) -> dict[str, list[dict[str, Any]]]:
    """Return {client, country, path, host: [{value, events}]} of the newest stopped requests, up to `TOP_OF`."""
    newest = events.filter(action__in=STOPPED).order_by("-created_at").values_list(*TOP_OF_BLOCKED)[:TOP_OF]
    columns = zip(*newest, strict=True) if newest else ((),) * len(TOP_OF_BLOCKED)
    counted = ((name, Counter(filter(None, values))) for name, values in zip(TOP_OF_BLOCKED, columns, strict=True))
    return {
        name: [{"value": value, "events": events} for value, events in counts.most_common(TOP)]
        for name, counts in counted
    }


def _counted(rows: QuerySet[Event], value: Any) -> Any:
    return rows.annotate(value=value).values("value").annotate(events=Count("pk")).order_by("-events", "value")


def only_counted(since: datetime) -> int:
    """Return how many events of the account's servers were counted, not stored, since the day of a time."""
    rows = EventCount.objects.filter(server__in=Server.objects.all(), day__gte=since.date())
    return int(rows.aggregate(total=Sum("counted"))["total"] or 0)


def event_lines(events: QuerySet[Event], account_id: uuid.UUID) -> Iterator[str]:
    """Yield the CSV of events."""
    return csv_lines(events.select_related("server"), CSV_COLUMNS, _row, account_id)


def _row(event: Event) -> list[str]:
    values = {
        **{name: str(getattr(event, name)) for name in CSV_COLUMNS},
        "time": event.time.isoformat(),
        "asn": str(event.asn or ""),
        "rules": " ".join(event.rules),
        "server": event.server.name,
    }
    return [values[name] for name in CSV_COLUMNS]
