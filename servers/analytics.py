"""What was served, over time: counts per minute, hour or day, within what the account's plan shows."""

import enum
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from accounts.tenancy import active_account_id
from billing import entitlements
from lumos.errors import InvalidInput
from servers import rollup
from servers.metric_models import Counters
from servers.metrics import KEPT_MINUTES
from servers.models import DailyMetric, HourlyMetric, MinuteMetric, ServerDay, ServerHour, ServerMinute

HOURS_SHOWN_MAX = timedelta(days=7)


class Step(enum.StrEnum):
    """How long one point of a series is."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """How long that is."""
        return _LENGTHS[self]


_LENGTHS = {Step.MINUTE: timedelta(minutes=1), Step.HOUR: timedelta(hours=1), Step.DAY: timedelta(days=1)}
_PER_SERVER: dict[Step, type[Counters]] = {Step.MINUTE: ServerMinute, Step.HOUR: ServerHour, Step.DAY: ServerDay}
_PER_DOMAIN: dict[Step, type[Counters]] = {Step.MINUTE: MinuteMetric, Step.HOUR: HourlyMetric, Step.DAY: DailyMetric}


@dataclass(frozen=True)
class Span:
    """Points from `since` to before `until` (UTC), both the begin of one; `until` is the first that is left out."""

    since: datetime
    until: datetime
    step: Step

    @property
    def points(self) -> list[datetime]:
        """The begin of each point, oldest first."""
        return [self.since + self.step.length * n for n in range((self.until - self.since) // self.step.length)]


@dataclass(frozen=True)
class Series:
    """`counts` has a number for each of `points`, by the names of `Counters.COUNTERS`."""

    span: Span
    points: list[datetime]
    counts: dict[str, list[int]]

    @property
    def totals(self) -> dict[str, int]:
        """The sum of each counter."""
        return {name: sum(numbers) for name, numbers in self.counts.items()}


def window_of(account_id: uuid.UUID) -> timedelta:
    """Return how far an account may look back: what is kept for longer is not shown."""
    return entitlements.limits_of(account_id).analytics


def earliest(now: datetime) -> datetime:
    """Return the time before which the account in scope is shown nothing."""
    return now - window_of(active_account_id())


def span_of(*, since: datetime, until: datetime, now: datetime, step: Step | None = None) -> Span:
    """Return the whole points of a time, cut to the window of the account in scope and to the present.

    Without a step it is what a chart can show: minutes for an hour, hours for a week, else days.

    Raises:
        InvalidInput: nothing of it is in the window, or points so short are no longer kept.
    """
    if since >= until:
        raise InvalidInput("`since` must be before `until`.", field="since")
    first, last = max(since, earliest(now)), min(until, now)
    if first >= last:
        raise InvalidInput(
            f"Your plan shows what was served since {earliest(now):%Y-%m-%d %H:%M} UTC; ask for a later time.",
            field="since",
        )
    if step is None:
        long = last - first
        step = Step.MINUTE if long <= KEPT_MINUTES else Step.HOUR if long <= HOURS_SHOWN_MAX else Step.DAY
        longer = list(Step)[list(Step).index(step) :]
        step = next((one for one in longer if _begin(first, one) >= _first_kept(one, now)), Step.DAY)
    span = Span(_next_begin(first, step), _next_begin(last, step), step)
    if span.since < _first_kept(step, now):
        raise InvalidInput(
            f"Counts per {step} are kept since {_first_kept(step, now):%Y-%m-%d %H:%M} UTC; ask for a later time or "
            "for longer steps.",
            field="step",
        )
    return span


def last(length: timedelta, step: Step | None = None) -> Span:
    """Return the span that ends now, shorter where the window is."""
    now = timezone.now()
    return span_of(since=now - length, until=now, now=now, step=step)


def served(span: Span, *, domain: uuid.UUID | None = None, server: uuid.UUID | None = None) -> Series:
    """Return the counts of the account in scope, of one domain, one server or one domain on one server."""
    points = span.points
    counts = {name: [0] * len(points) for name in Counters.COUNTERS}
    for place, sums in sums_of(Counters.COUNTERS, span, domain=domain, server=server):
        for name, number in zip(Counters.COUNTERS, sums, strict=True):
            counts[name][place] += number
    return Series(span, points, counts)


def sums_of(
    names: Sequence[str], span: Span, *, domain: uuid.UUID | None = None, server: uuid.UUID | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Yield (place of a point of `span`, sums of these counters); a point may come twice."""
    narrowed = {name: pk for name, pk in (("domain", domain), ("server", server)) if pk}
    models = _PER_DOMAIN if domain else _PER_SERVER
    rows = _sums(models[span.step], names, span, narrowed)
    if span.step is Step.DAY:
        rows = rows.union(_sums_of_hours(models[Step.HOUR], names, span, narrowed), all=True)
    places = {point: place for place, point in enumerate(span.points)}
    for at, *sums in rows:
        if (place := places.get(_moment(at))) is not None:
            yield place, [int(number or 0) for number in sums]


def _sums(model: type[Counters], names: Sequence[str], span: Span, narrowed: dict[str, Any]) -> Any:
    since, until = (at.date() if span.step is Step.DAY else at for at in (span.since, span.until))
    rows = model.objects.filter(**{f"{model.PERIOD}__gte": since, f"{model.PERIOD}__lt": until}, **narrowed)
    return _added_up(rows.order_by().values(model.PERIOD), model.PERIOD, names)


def _sums_of_hours(model: type[Counters], names: Sequence[str], span: Span, narrowed: dict[str, Any]) -> Any:
    """Return the days of hours that are not moved yet."""
    rows = model.objects.filter(hour__gte=span.since, hour__lt=span.until, **narrowed).order_by()
    return _added_up(rows.annotate(at=TruncDate("hour", tzinfo=UTC)).values("at"), "at", names)


def _added_up(rows: Any, by: str, names: Sequence[str]) -> Any:
    sums = {f"sum_{name}": Sum(name) for name in names}
    return rows.annotate(**sums).values_list(by, *sums)


def _moment(at: datetime | date) -> datetime:
    return at.astimezone(UTC) if isinstance(at, datetime) else datetime.combine(at, time(), UTC)


def _begin(at: datetime, step: Step) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // step.length * step.length


def _next_begin(at: datetime, step: Step) -> datetime:
    begin = _begin(at, step)
    return begin if begin == at else begin + step.length


def _first_kept(step: Step, now: datetime) -> datetime:
    if step is Step.MINUTE:
        return _begin(now - KEPT_MINUTES, step)
    kept = rollup.first_hourly_day(now) if step is Step.HOUR else rollup.first_day_kept(now)
    return datetime.combine(kept, time(), UTC)
