"""Periodic jobs of all tenants; each is one set-based statement that gives the same result when it runs twice."""

import logging

from celery import shared_task
from django.utils import timezone

from domains import orders
from domains.models import Challenge
from lumos.jobs import Job
from servers import forwards, history, rollup
from waf.attacks import expire_attacks
from waf.events import KEPT, expire_events
from waf.models import EventCount
from waf.rule_hits import expire_hits

log = logging.getLogger(__name__)


@shared_task(base=Job)
def expire_old_rows() -> dict[str, int]:
    """Roll hours up into days, and delete what is past its time.

    That is days, events, challenges and orders, and snapshots beyond the number kept.
    """
    now = timezone.now()
    hours = rollup.roll_up(now)
    days = rollup.expire_days(now)
    events = expire_events(now)
    expire_attacks(now - KEPT)
    expire_hits(now)
    forwards.expire_hours(now)
    Challenge.unscoped.filter(expires_at__lt=now).delete()
    orders.forget_old_orders()
    EventCount.objects.filter(day__lt=(now - KEPT).date()).delete()
    snapshots = history.expire()
    expired = {"hours_moved": hours, "days": days, "events": events, "snapshots": snapshots}
    log.info("old_rows_expired", extra=expired)
    return expired


@shared_task(base=Job)
def expire_minutes() -> dict[str, int]:
    """Delete what the live view no longer shows."""
    return {"minutes": rollup.expire_minutes(timezone.now())}
