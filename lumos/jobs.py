"""Periodic jobs: each run is claimed in the database, and what became of it is written there.

Beat only asks; the row decides. So two beats, a redelivered task and a slow worker are normal: a job runs once at a
time and once per period. A run that died frees its job when its lease ends. Every job gives the same result when it
runs twice, because a lease can end under a run that is merely slow.
"""

import logging
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from celery import Task, current_app
from django.db.models import F, Q
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from lumos.models import JobRow

log = logging.getLogger(__name__)

SLACK_SHARE = 0.2
SLACK_MAX = timedelta(seconds=10)
LEASE_PERIODS, LEASE_MIN, LEASE_MAX = 2, timedelta(minutes=1), timedelta(minutes=15)
GRACE_PERIODS, GRACE_MIN = 2, timedelta(minutes=2)
ERROR_MAX = 300


class Job(Task):  # type: ignore[type-arg]
    """Base of every task that beat asks for; what the function returns, a small dictionary, is kept as its result.

    A direct call, as in a shell, runs the function alone.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run if the claim succeeds."""
        call = super().__call__
        if self.request.called_directly:
            return call(*args, **kwargs)
        with bound_contextvars(task=self.name):
            return run(self.name, lambda: call(*args, **kwargs))


def periods() -> dict[str, timedelta]:
    """Return {task name: period} of the schedule."""
    return {row["task"]: timedelta(seconds=row["schedule"]) for row in current_app.conf.beat_schedule.values()}


def run(name: str, call: Callable[[], Any]) -> Any:
    """Run a job unless it runs already or is not due yet."""
    token = claim(name, timezone.now())
    if token is None:
        return None
    began = time.monotonic()
    try:
        result = call()
    except BaseException as error:
        _finish(name, token, began, error=f"{type(error).__name__}: {error}"[:ERROR_MAX], failures=F("failures") + 1)
        raise
    _finish(name, token, began, error="", result=result or {})
    return result


def claim(name: str, now: datetime) -> uuid.UUID | None:
    """Return the token of a run that may begin, or None. Beat is a little early at times, which is let pass."""
    every = periods()[name]
    JobRow.objects.get_or_create(name=name, defaults={"next_due_at": now})
    token = uuid.uuid4()
    free = JobRow.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now), name=name)
    claimed = free.filter(next_due_at__lte=now + min(every * SLACK_SHARE, SLACK_MAX)).update(
        token=token,
        started_at=now,
        next_due_at=now + every,
        lease_until=now + min(max(every * LEASE_PERIODS, LEASE_MIN), LEASE_MAX),
    )
    return token if claimed else None


def _finish(name: str, token: uuid.UUID, began: float, **values: Any) -> None:
    """Note the end of a run; one whose lease ended and was taken over changes nothing."""
    JobRow.objects.filter(name=name, token=token).update(
        token=None,
        lease_until=None,
        finished_at=timezone.now(),
        duration_ms=round((time.monotonic() - began) * 1000),
        runs=F("runs") + 1,
        **values,
    )


def put_rows(**_: Any) -> None:
    """Give every scheduled job a row, so that one that never ran is late as well; forget jobs that are gone."""
    now = timezone.now()
    JobRow.objects.exclude(name__in=periods()).delete()
    JobRow.objects.bulk_create([JobRow(name=name, next_due_at=now) for name in periods()], ignore_conflicts=True)


class Trouble(NamedTuple):
    """A job that does not do what it should: late (nobody asks), stuck (a run never ended) or failing."""

    name: str
    what: str


def troubles(now: datetime) -> list[Trouble]:
    """Return every job in trouble; all of them late means that beat or the workers are gone."""
    found = []
    for row in JobRow.objects.filter(name__in=periods()):
        every = periods()[row.name]
        if row.lease_until is not None and row.lease_until < now:
            found.append(Trouble(row.name, "stuck"))
        elif row.lease_until is None and row.next_due_at + max(every * GRACE_PERIODS, GRACE_MIN) < now:
            found.append(Trouble(row.name, "late"))
        elif row.error:
            found.append(Trouble(row.name, "failing"))
    return found


def reported_troubles() -> list[Trouble]:
    """Return the jobs in trouble, and write them to the log for the operator."""
    found = troubles(timezone.now())
    for trouble in found:
        log.error("job_in_trouble", extra={"job": trouble.name, "trouble": trouble.what})
    return found
