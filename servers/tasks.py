"""Periodic jobs of all tenants; each is one set-based statement that gives the same result when it runs twice."""

import logging

from celery import shared_task
from django.utils import timezone

from domains import orders
from domains.models import Challenge
from lumos.jobs import Job
from servers import history
from servers.metrics import KEPT_HOURLY
from servers.models import HourlyMetric
from waf.attacks import expire_attacks
from waf.events import KEPT, expire_events
from waf.models import EventCount
from waf.rule_hits import expire_hits

log = logging.getLogger(__name__)


@shared_task(base=Job)
def expire_old_rows() -> dict[str, int]:
    """Delete metrics, events, challenges and orders that are past their time, and snapshots beyond the number kept."""
    now = timezone.now()
    hours, _ = HourlyMetric.unscoped.filter(hour__lt=now - KEPT_HOURLY).delete()
    events = expire_events(now)
    expire_attacks(now - KEPT)
    expire_hits(now)
    Challenge.unscoped.filter(expires_at__lt=now).delete()
    orders.forget_old_orders()
    EventCount.objects.filter(day__lt=(now - KEPT).date()).delete()
    snapshots = history.expire()
    expired = {"hours": hours, "events": events, "snapshots": snapshots}
    log.info("old_rows_expired", extra=expired)
    return expired
