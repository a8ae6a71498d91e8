"""Staged roll-out: the first server of a domain gets a change, the others when it has done well for a while.

What a server should run is still a function of the rows: `servers.snapshots` puts the earlier part in for servers that
a change has not reached, or for all once it is stopped. Lists and policy never wait.
"""

import logging
from datetime import timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import Domain, Rollout, RolloutMode, RolloutState
from lumos.errors import Conflict
from lumos_agent.schema import Domain as DomainPart
from servers import revisions
from servers.models import ApplyState, HourlyMetric, Server
from servers.snapshots import domain_parts

log = logging.getLogger(__name__)

OBSERVED = timedelta(seconds=30)
REQUESTS_MIN = 20
ERROR_SHARE_MAX = 0.05
ERROR_SHARE_FACTOR = 2.0


def part_before(domain: Domain) -> DomainPart | None:
    """Return the domain as it is, if a change of it is to be staged."""
    if domain.rollout != RolloutMode.STAGED or domain.assignments.count() < 2:
        return None
    return domain_parts([domain.pk])[0]


def begin(domain: Domain, before: DomainPart) -> None:
    """Observe a change that was just written; one that is not over yet keeps the part that it began with."""
    first = domain.assignments.order_by("position").select_related("server")[0].server
    values = {
        "first": first,
        "revision": Server.objects.values_list("revision", flat=True).get(pk=first.pk),
        "state": RolloutState.OBSERVING,
        "reason": "",
        "applied_at": None,
    }
    open_ones = Rollout.objects.exclude(state=RolloutState.DONE)
    if not open_ones.filter(domain=domain).update(**values):
        Rollout.objects.create(domain=domain, before=msgspec.to_builtins(before), **values)


def _served(rollout: Rollout) -> tuple[int, int]:
    """Return (requests, answers with 5xx) of the domain on its first server, of all time."""
    rows = HourlyMetric.objects.filter(server_id=rollout.first_id, domain_id=rollout.domain_id)
    sums = rows.aggregate(requests=Sum("requests"), errors=Sum("status_5xx"))
    return sums["requests"] or 0, sums["errors"] or 0


def verdict(requests: int, errors: int, before: tuple[int, int]) -> str:
    """Return why a change should be stopped, or nothing. `before`: (requests, errors) until it was applied."""
    if requests < REQUESTS_MIN:
        return ""
    usual = before[1] / before[0] if before[0] else 0.0
    share = errors / requests
    if share <= max(ERROR_SHARE_MAX, usual * ERROR_SHARE_FACTOR):
        return ""
    return (
        f"{share:.0%} of {requests} requests ended with a server error, {usual:.0%} before the change. "
        "All servers run what they ran before."
    )


@transaction.atomic
def advance(*, rollout_id: Any) -> RolloutState | None:
    """Look at one roll-out: wait, let the other servers follow, or stop it. Running it twice changes nothing."""
    rows = Rollout.objects.select_for_update(of=("self",), no_key=True).select_related("first", "domain")
    rollout = rows.filter(pk=rollout_id, state=RolloutState.OBSERVING).first()
    if rollout is None:
        return None
    first = rollout.first
    if first.apply_state == ApplyState.FAILED:
        return _stop(rollout, f"{first.name} could not apply it: {first.apply_report.get('message', '')[:2000]}")
    if first.applied_revision < rollout.revision:
        return None
    requests, errors = _served(rollout)
    if rollout.applied_at is None:
        rollout.applied_at, rollout.requests, rollout.errors = timezone.now(), requests, errors
        rollout.save()
        return None
    before = rollout.requests, rollout.errors
    if reason := verdict(requests - before[0], errors - before[1], before):
        return _stop(rollout, reason)
    if timezone.now() - rollout.applied_at < OBSERVED:
        return None
    return _finish(rollout, RolloutState.DONE)


def _stop(rollout: Rollout, reason: str) -> RolloutState:
    rollout.reason = reason
    log.warning("rollout_stopped", extra={"domain": str(rollout.domain_id), "reason": reason})
    return _finish(rollout, RolloutState.STOPPED)


def _finish(rollout: Rollout, state: RolloutState) -> RolloutState:
    rollout.state = state
    rollout.save()
    revisions.bump(Server.objects.filter(assignments__domain_id=rollout.domain_id))
    return state


@transaction.atomic
def release(*, domain: Domain, actor: User) -> None:
    """Put the change on all servers now, whatever was observed.

    Raises:
        Conflict: no change of this domain waits.
    """
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    rollout = Rollout.objects.exclude(state=RolloutState.DONE).filter(domain=domain).first()
    if rollout is None:
        raise Conflict("No change of this domain waits for its other servers.")
    audit.record(actor, audit.Action.ROLLOUT_RELEASED, domain, {"state": [rollout.state, RolloutState.DONE]})
    _finish(rollout, RolloutState.DONE)


def open_rollout(domain: Domain) -> Rollout | None:
    """Return the change that waits or was stopped, if any."""
    found: Rollout | None = Rollout.objects.exclude(state=RolloutState.DONE).filter(domain=domain).first()
    return found
