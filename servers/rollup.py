"""Hours become days, and what is past its time goes: in bounded batches, the same when run twice or late."""

from datetime import UTC, date, datetime, timedelta

from django.db.models import QuerySet

from servers import counting
from servers.metric_models import Counters
from servers.metrics import KEPT_MINUTES
from servers.models import DailyMetric, HourlyMetric, MinuteMetric, ServerDay, ServerHour, ServerMinute

KEPT_HOURLY = timedelta(days=7)
KEPT_DAILY = timedelta(days=365)
MOVES_PER_RUN = 20_000
EXPIRED_BATCH = 10_000
EXPIRED_PER_RUN = 5_000_000
_PAIRS: tuple[tuple[type[Counters], type[Counters]], ...] = ((HourlyMetric, DailyMetric), (ServerHour, ServerDay))


def first_hourly_day(now: datetime) -> date:
    """Return the first day (UTC) whose hours are kept; earlier ones are whole days."""
    return (now.astimezone(UTC) - KEPT_HOURLY).date()


def first_day_kept(now: datetime) -> date:
    """Return the first day (UTC) of which anything is kept."""
    return (now.astimezone(UTC) - KEPT_DAILY).date()


def roll_up(now: datetime) -> int:
    """Move the hours of all tenants that are past their time into days; returns how many rows were moved.

    Each day of a server is a transaction of its own. A late batch makes an hour anew, which the next run adds to its
    day. What is left after `MOVES_PER_RUN` waits for the next run.
    """
    before = datetime.combine(first_hourly_day(now), datetime.min.time(), UTC)
    moved = 0
    for source, target in _PAIRS:
        old = source.unscoped.filter(hour__lt=before).order_by("hour").values_list("server_id", "hour")
        for _ in range(MOVES_PER_RUN):
            if (oldest := old.first()) is None:
                break
            moved += counting.move_day(source, target, server_id=oldest[0], day=oldest[1].astimezone(UTC).date())
    return moved


def expire_days(now: datetime) -> int:
    """Delete the days of all tenants that are past their time; returns how many rows."""
    kept = first_day_kept(now)
    return sum(_expire(model.unscoped.filter(day__lt=kept).order_by("day")) for model in (DailyMetric, ServerDay))


def expire_minutes(now: datetime) -> int:
    """Delete the minutes of all tenants that are past their time; returns how many rows."""
    kept = now - KEPT_MINUTES
    models = (MinuteMetric, ServerMinute)
    return sum(_expire(model.unscoped.filter(minute__lte=kept).order_by("minute")) for model in models)


def _expire(old: "QuerySet[Counters]") -> int:
    expired = 0
    while expired < EXPIRED_PER_RUN:
        chosen = list(old.values_list("pk", flat=True)[:EXPIRED_BATCH])
        gone, _ = old.model.unscoped.filter(pk__in=chosen).delete()
        expired += gone
        if len(chosen) < EXPIRED_BATCH:
            break
    return expired
