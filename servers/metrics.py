"""Counters from shields: each batch is counted once, whatever is lost, repeated or restarted."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.utils import DataError

from domains.models import Domain
from lumos_agent import protocol
from servers import wake
from servers.models import BatchCursor, HourlyMetric, Server
from waf.attacks import store_attacks
from waf.events import store_events
from waf.rule_hits import count_hits

KEPT_HOURLY = timedelta(days=7)
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


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
    _add_traffic(server, batch.traffic)
    stored = store_events(server, batch.events, batch.events_dropped)
    count_hits(batch.hits)
    stored += store_attacks(server, batch.attacks)
    cursor.seq = batch.seq
    cursor.save()
    if batch.traffic:
        wake.pages_on_commit(server.account_id, "metrics")
    if stored:
        wake.pages_on_commit(server.account_id, "events")
    return True


def _hour(seconds: int) -> datetime:
    try:
        return max(datetime.fromtimestamp(seconds - seconds % 3600, UTC), _EARLIEST)
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(f"hour {seconds} is out of range") from error


def _add_traffic(server: Server, traffic: tuple[protocol.Traffic, ...]) -> None:
    known = {
        str(pk) for pk in Domain.objects.filter(pk__in={t.domain_id for t in traffic}).values_list("pk", flat=True)
    }
    for part in traffic:
        if part.domain_id not in known:
            continue
        counts = {name: getattr(part, name) for name in HourlyMetric.COUNTERS}
        key = {"server": server, "domain_id": part.domain_id, "hour": _hour(part.hour)}
        row, is_new = HourlyMetric.objects.get_or_create(**key, defaults=counts)
        if not is_new:
            HourlyMetric.objects.filter(pk=row.pk).update(**{name: F(name) + count for name, count in counts.items()})
