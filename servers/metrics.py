"""Counters from shields: each batch is counted once, whatever is lost, repeated or restarted."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from domains.models import Domain
from lumos_agent import protocol
from lumos_agent.timings import bucket_of
from servers import counting, forwards, wake
from servers.metric_models import Counters
from servers.models import BatchCursor, HourlyMetric, MinuteMetric, Server, ServerHour, ServerMinute
from waf.attacks import store_attacks
from waf.events import store_events
from waf.rule_hits import count_hits

KEPT_MINUTES = timedelta(hours=1)
CLOCK_SKEW_MAX = timedelta(minutes=1)
_TIME_MAX = 2**33
_LOGGED = {"challenge": "challenged", "limit": "limited"}
_TOLD = tuple(name for name in Counters.COUNTERS if name not in _LOGGED.values())


@transaction.atomic
def ingest(*, server_id: Any, batch: protocol.Batch) -> bool:
    """Count a batch unless its `seq` was counted before; returns whether it was new.

    The caller acknowledges after this returns, that is after the commit. The cursor row is locked, so that two
    connections of one agent cannot both count a batch.
    """
    server = Server.objects.filter(pk=server_id).first()
    if server is None:
        return False
    BatchCursor.objects.get_or_create(server=server, boot_id=batch.boot_id)
    cursor = BatchCursor.objects.select_for_update().get(server=server, boot_id=batch.boot_id)
    if batch.seq <= cursor.seq:
        return False
    _add_traffic(server, batch, timezone.now())
    stored = store_events(server, batch.events, batch.events_dropped)
    count_hits(batch.hits)
    forwards.count(batch.forwards, account_id=server.account_id, server_id=server.pk)
    stored += store_attacks(server, batch.attacks)
    cursor.seq = batch.seq
    cursor.save()
    if batch.traffic:
        wake.pages_on_commit(server.account_id, "metrics")
    if stored:
        wake.pages_on_commit(server.account_id, "events")
    return True


def _add_traffic(server: Server, batch: protocol.Batch, now: datetime) -> None:
    """Add a batch's traffic to its hours, and to its minute if that is shown still; domains that are gone are ignored.

    What the shield logged of stopped requests says how many of them were challenged and how many limited.
    """
    logged = Counter(
        (event.domain_id, int(event.time), event.action)
        for event in batch.events
        if event.action in _LOGGED and 0 <= event.time < _TIME_MAX
    )
    told = {t.domain_id for t in batch.traffic} | {domain_id for domain_id, _, _ in logged}
    known = {str(pk): pk for pk in Domain.objects.filter(pk__in=told).values_list("pk", flat=True)}
    by_hour: dict[tuple[uuid.UUID, datetime], Counter[str]] = defaultdict(Counter)
    for part in batch.traffic:
        if part.domain_id in known:
            counted = by_hour[known[part.domain_id], counting.hour_of(part.hour, now)]
            counted.update({name: getattr(part, name) for name in _TOLD})
            for bound, answers in part.timings.items():
                counted[Counters.BUCKETS[bound if bound in Counters.BUCKETS else bucket_of(bound)]] += answers
    for (domain_id, seconds, action), number in logged.items():
        if domain_id in known:
            by_hour[known[domain_id], counting.hour_of(seconds, now)][_LOGGED[action]] += number
    _add(HourlyMetric, ServerHour, server, by_hour)
    minute = datetime.fromtimestamp(int(batch.at) // 60 * 60, UTC)
    if now - KEPT_MINUTES < minute <= now + CLOCK_SKEW_MAX:
        by_minute: dict[tuple[uuid.UUID, datetime], Counter[str]] = defaultdict(Counter)
        for (domain, _), counted in by_hour.items():
            by_minute[domain, minute].update(counted)
        _add(MinuteMetric, ServerMinute, server, by_minute)


def _add(
    per_domain: type[Counters],
    per_server: type[Counters],
    server: Server,
    counts: Mapping[tuple[uuid.UUID, datetime], Counter[str]],
) -> None:
    sums: dict[datetime, Counter[str]] = defaultdict(Counter)
    for (_, period), counted in counts.items():
        sums[period].update(counted)
    counting.add(per_domain, server.account_id, {(server.pk, *key): counted for key, counted in counts.items()})
    counting.add(per_server, server.account_id, {(server.pk, period): counted for period, counted in sums.items()})
