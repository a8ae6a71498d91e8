"""Named reads for pages: what runs, what was served."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from servers import analytics, charts
from servers.models import Server

WINDOW = timedelta(hours=24)


def servers_with_domains() -> QuerySet[Server]:
    """Return the servers of the account, newest first, each with its domains prefetched."""
    return Server.objects.select_related("verdict").prefetch_related("domains")


def requests_per_hour(*, domain: Any = None, server: Any = None) -> dict[str, Any]:
    """Return {chart, total, total_blocked} of the last 24 hours; `chart` is as `charts.requests` makes it."""
    found = analytics.served(analytics.last(WINDOW, analytics.Step.HOUR), domain=domain, server=server)
    totals = found.totals
    return {"chart": charts.requests(found), "total": totals["requests"], "total_blocked": totals["blocked"]}
