"""Periodic jobs on domains."""

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from celery import shared_task
from django.utils import timezone

from accounts.tenancy import tenant_scope
from domains import dnssec, failover, leak_checks, rollouts
from domains.dns import publishing
from domains.models import Rollout, RolloutState
from lumos.jobs import Job
from lumos.tasks import TenantTask

log = logging.getLogger(__name__)


@shared_task(base=Job)
def advance_rollouts() -> None:
    """Look at every staged change that is being observed; one tenant's failure does not stop the others."""
    observed = Rollout.unscoped.filter(state=RolloutState.OBSERVING).values_list("pk", "account_id")
    for rollout_id, account_id in observed:
        try:
            with tenant_scope(account_id):
                rollouts.advance(rollout_id=rollout_id)
        except Exception:
            log.exception("rollout_not_advanced", extra={"rollout": str(rollout_id)})


@shared_task(base=Job)
def look_at_failovers() -> dict[str, int]:
    """Decide where time alone may have decided, and publish what waits to be published again."""
    now = timezone.now()
    waiting = failover.due(now)
    _look(waiting)
    for account_id, domain_id in publishing.due(now):
        publish_dns.apply_async((str(account_id), str(domain_id)), expires=30)
    return {"domains": len(waiting)}


@shared_task(base=Job)
def sweep_failovers() -> dict[str, int]:
    """Decide about every domain, in case that something was missed."""
    everything = failover.all_of_everybody()
    _look(everything)
    return {"domains": len(everything)}


def _look(domains: Iterable[tuple[Any, Any]]) -> None:
    """Look at domains, each in its account; one tenant's failure does not stop the others."""
    for account_id, domain_id in domains:
        try:
            with tenant_scope(account_id):
                failover.look(domain_id)
        except Exception:
            log.exception("failover_not_decided", extra={"domain": str(domain_id)})


@shared_task(base=TenantTask)
def publish_dns(account_id: str, domain_id: str) -> None:
    """Bring the records of a domain at its provider to what it answers."""
    publishing.publish(uuid.UUID(domain_id))


@shared_task(base=Job)
def check_origins() -> dict[str, int]:
    """Look for the origins of some domains whose turn it is."""
    now = timezone.now()
    leak_checks.schedule_new(now)
    waiting = leak_checks.due(now)
    for account_id, domain_id in waiting:
        check_origin.apply_async((str(account_id), str(domain_id)), expires=300)
    return {"domains": len(waiting)}


@shared_task(base=Job)
def check_signed_zones() -> dict[str, int]:
    """Have the parents of some signed zones asked whose turn it is."""
    waiting = dnssec.due(timezone.now())
    for account_id, zone_id in waiting:
        check_signed_zone.apply_async((str(account_id), str(zone_id)), expires=300)
    return {"zones": len(waiting)}


@shared_task(base=TenantTask)
def check_signed_zone(account_id: str, zone_id: str) -> None:
    """Ask the parent of one signed zone."""
    dnssec.look(uuid.UUID(zone_id))


@shared_task(base=TenantTask)
def check_origin(account_id: str, domain_id: str) -> None:
    """Look for the origins of one domain."""
    leak_checks.run(uuid.UUID(domain_id))
