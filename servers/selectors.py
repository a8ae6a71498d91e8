"""Named reads for pages: what runs, what was served."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.utils import timezone

from servers.models import HourlyMetric, Server

WINDOW_HOURS = 24


def servers_with_domains() -> QuerySet[Server]:
    """Return the servers of the account, newest first, each with its domains prefetched."""
    return Server.objects.prefetch_related("domains")


def hours_until_now(hours: int = WINDOW_HOURS) -> list[datetime]:
    """Return the starts of the last `hours` hours, oldest first; the last one is the present hour."""
    present = timezone.now().replace(minute=0, second=0, microsecond=0)
    return [present - timedelta(hours=age) for age in reversed(range(hours))]


def requests_per_hour(**filters: Any) -> dict[str, Any]:
    """Return {labels, passed, blocked, total, total_blocked} of the last 24 hours; `filters` narrow the rows."""
    hours = hours_until_now()
    rows = (
        HourlyMetric.objects.filter(hour__gte=hours[0], **filters)
        .order_by("hour")
        .values("hour")
        .annotate(all=Sum("requests"), stopped=Sum("blocked"))
    )
    by_hour = {row["hour"]: (row["all"], row["stopped"]) for row in rows}
    counts = [by_hour.get(hour, (0, 0)) for hour in hours]
    return {
        "labels": [hour.isoformat() for hour in hours],
        "passed": [total - stopped for total, stopped in counts],
        "blocked": [stopped for _, stopped in counts],
        "total": sum(total for total, _ in counts),
        "total_blocked": sum(stopped for _, stopped in counts),
    }
