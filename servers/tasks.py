"""Periodic jobs of all tenants; each is one set-based statement that gives the same result when it runs twice."""

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from celery import shared_task
from django.utils import timezone

from accounts.tenancy import tenant_scope
from domains import failover, orders
from domains.models import Challenge
from lumos.jobs import Job
from servers import decommissioning, forwards, health, history, probing, rollup, upgrades
from servers.models import AgentUpgrade, UpgradeState
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
    health.expire(now)
    failover.expire(now)
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


@shared_task(base=Job)
def finish_decommissions() -> dict[str, int]:
    """Remove servers whose decommissioning has had its time, whether their agents answered or not."""
    return decommissioning.finish()


@shared_task(base=Job)
def advance_upgrades() -> dict[str, int]:
    """Look at every upgrade of agents that runs; one tenant's failure does not stop the others."""
    running = list(AgentUpgrade.unscoped.filter(state=UpgradeState.RUNNING).values_list("pk", "account_id"))
    for upgrade_id, account_id in running:
        try:
            with tenant_scope(account_id):
                upgrades.advance(upgrade_id)
        except Exception:
            log.exception("upgrade_not_advanced", extra={"upgrade": str(upgrade_id)})
    return {"running": len(running)}


@shared_task(base=Job)
def probe_servers() -> dict[str, int]:
    """Probe every shield from here, and judge those of which something changed."""
    changed = probing.probe_round()
    _look(changed)
    return {"changed": sum(map(len, changed.values()))}


@shared_task(base=Job)
def look_at_servers() -> dict[str, int]:
    """Judge the shields that time alone may change the verdict on."""
    waiting = health.unsettled()
    _look(waiting)
    return {"servers": sum(map(len, waiting.values()))}


def _look(servers: Mapping[uuid.UUID, Iterable[Any]]) -> None:
    """Look at servers by account; one tenant's failure does not stop the others."""
    for account_id, ids in servers.items():
        try:
            with tenant_scope(account_id):
                failover.look_at_servers(health.look(ids))
        except Exception:
            log.exception("servers_not_judged", extra={"account": str(account_id)})
