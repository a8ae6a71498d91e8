"""Periodic jobs on domains."""

import logging

from celery import shared_task

from accounts.tenancy import tenant_scope
from domains import rollouts
from domains.models import Rollout, RolloutState
from lumos.jobs import Job

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
