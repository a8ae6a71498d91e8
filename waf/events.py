"""Events: stored up to a cap per server and day, counted beyond it."""

import ipaddress
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from domains.models import Domain
from lumos_agent import protocol
from servers.models import Server
from waf.models import Event, EventCount

EVENTS_PER_DAY = 5_000
KEPT = timedelta(days=30)
EXPIRED_BATCH = 2_000
EXPIRED_PER_RUN = 1_000_000


def naming(events: QuerySet[Event], *rules: str) -> QuerySet[Event]:
    """Keep events in which one of `rules` objected; by the column's text, as SQLite does not look into JSON."""
    told = events.alias(told=Cast("rules", TextField()))
    return told.filter(reduce(or_, (Q(told__contains=json.dumps(rule)) for rule in rules)))


def _row(server: Server, event: protocol.Event, account_id: Any) -> Event | None:
    try:
        client = str(ipaddress.ip_address(event.client))
        time = datetime.fromtimestamp(event.time, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    # PostgreSQL's text cannot hold NUL.
    clean = {
        n: getattr(event, n).replace("\0", "\\0") for n in ("path", "query", "user_agent", "matched", "place", "host")
    }
    return Event(
        account_id=account_id,
        server=server,
        domain_id=event.domain_id,
        time=time,
        request_id=event.request_id.replace("\0", "")[:64],
        client=client,
        country=event.country,
        asn=event.asn,
        method=event.method.replace("\0", "")[:32],
        host=clean.pop("host")[:255],
        rules=[rule.replace("\0", "") for rule in event.rules],
        score=min(event.score, 2**31 - 1),
        action=event.action,
        **clean,
    )


def store_events(server: Server, events: Sequence[protocol.Event], dropped: int) -> int:
    """Store events of one batch inside the caller's transaction; returns how many became rows.

    Events of domains that are gone are ignored. `dropped` ones were lost on the shield and are only counted.
    """
    if not events and not dropped:
        return 0
    known = {str(pk) for pk in Domain.objects.filter(pk__in={e.domain_id for e in events}).values_list("pk", flat=True)}
    rows = [row for e in events if e.domain_id in known and (row := _row(server, e, server.account_id))]
    today = timezone.now().date()
    EventCount.objects.get_or_create(server=server, day=today)
    counter = EventCount.objects.select_for_update().get(server=server, day=today)
    stored = rows[: max(EVENTS_PER_DAY - counter.stored, 0)]
    Event.objects.bulk_create(stored)
    EventCount.objects.filter(pk=counter.pk).update(
        stored=F("stored") + len(stored), counted=F("counted") + len(rows) - len(stored) + dropped
    )
    return len(stored)


def expire_events(now: datetime) -> int:
    """Delete the events of all tenants that are past their time, in bounded batches; returns how many.

    What is left after `EXPIRED_PER_RUN` waits for the next run.
    """
    expired = 0
    while expired < EXPIRED_PER_RUN:
        old = Event.unscoped.filter(created_at__lt=now - KEPT).order_by("created_at").values_list("pk", flat=True)
        gone, _ = Event.unscoped.filter(pk__in=list(old[:EXPIRED_BATCH])).delete()
        expired += gone
        if gone < EXPIRED_BATCH:
            break
    return expired
