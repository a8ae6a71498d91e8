"""Upgrades of an account's agents: one server first, then the others a few at a time; the first failure stops it.

Sites are not touched: an agent that ends leaves HAProxy running, and a version that does not come up is replaced by the
former one on the shield itself (lumos_agent/system/upgrade.py).
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import User
from lumos.errors import Conflict
from servers import errands, install, wake
from servers.models import AgentUpgrade, Server, ServerStatus, UpgradeState

log = logging.getLogger(__name__)

AT_ONCE = 10
OBSERVED = timedelta(seconds=30)
RETURNS_WITHIN = timedelta(minutes=15)


def others_than(version: str) -> QuerySet[Server]:
    """Return the servers in service whose agents said that they are of another version."""
    rows = Server.objects.filter(decommissioned_at=None, connected_at__isnull=False)
    return rows.exclude(facts__agent_version=version).order_by("name")


def _is_ready() -> Q:
    return Q(facts__takes_errands=True, lease_until__gt=timezone.now())


@transaction.atomic
def start_upgrade(*, actor: User) -> AgentUpgrade:
    """Bring the version that this dashboard serves to all connected servers of the account in scope.

    Raises:
        Conflict: there is no wheel, nothing to upgrade, or an upgrade runs.
    """
    if (offered := install.offered()) is None:
        raise Conflict("This Lumos has no agent to install; its operator builds it with `make wheel`.")
    version, sha256 = offered
    if not others_than(version).filter(_is_ready()).exists():
        raise Conflict(f"No connected server can be upgraded to {version} from here.")
    row = AgentUpgrade(version=version, sha256=sha256)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict("An upgrade runs already; stop it first.") from error
    audit.record(actor, audit.Action.AGENT_UPGRADE_STARTED, row)
    _ask_next(row, at_once=1)
    return row


@transaction.atomic
def stop_upgrade(*, actor: User) -> AgentUpgrade:
    """Ask no further server; what was asked goes on.

    Raises:
        Conflict: none runs.
    """
    row: AgentUpgrade | None = AgentUpgrade.objects.select_for_update().filter(state=UpgradeState.RUNNING).first()
    if row is None:
        raise Conflict("No upgrade runs.")
    audit.record(actor, audit.Action.AGENT_UPGRADE_STOPPED, row)
    return _end(row, UpgradeState.STOPPED, "Stopped by hand.")


@transaction.atomic
def advance(upgrade_id: Any) -> UpgradeState | None:
    """Look at one upgrade: wait, ask the next servers, or end it. Looking twice changes nothing."""
    rows = AgentUpgrade.objects.select_for_update(no_key=True)
    row: AgentUpgrade | None = rows.filter(pk=upgrade_id, state=UpgradeState.RUNNING).first()
    if row is None:
        return None
    asked = list(Server.objects.filter(upgrade=row).select_related("verdict"))
    for server in asked:
        if reason := failure_of(server, row.version):
            _end(row, UpgradeState.STOPPED, f"{server.name}: {reason}")
            return UpgradeState.STOPPED
    if all(_has_proved(server, row.version) for server in asked) and not _ask_next(row, at_once=AT_ONCE):
        _end(row, UpgradeState.DONE, "")
        return UpgradeState.DONE
    return UpgradeState.RUNNING


def failure_of(server: Server, version: str) -> str:
    """Return why a server that was asked keeps others from being asked, or nothing."""
    if server.errand_error:
        return server.errand_error
    if server.errand_asked_at is None or timezone.now() - server.errand_asked_at < RETURNS_WITHIN:
        return ""
    if server.facts.get("agent_version") != version:
        return f"it still runs {server.facts.get('agent_version', 'another version')} after 15 minutes."
    return "" if _has_proved(server, version) else f"it runs {version} and is {server.status.label.lower()}."


def _has_proved(server: Server, version: str) -> bool:
    """Whether a server has been connected with the version for a while, and does well."""
    if server.facts.get("agent_version") != version or server.status is not ServerStatus.ONLINE:
        return False
    return server.connected_at is not None and timezone.now() - server.connected_at >= OBSERVED


def _ask_next(row: AgentUpgrade, *, at_once: int) -> bool:
    waiting = others_than(row.version).filter(_is_ready()).exclude(upgrade=row)
    chosen = list(waiting[:at_once])
    errands.ask(chosen, upgrade=row)
    return bool(chosen)


def _end(row: AgentUpgrade, state: UpgradeState, reason: str) -> AgentUpgrade:
    row.state, row.reason = state, reason
    row.save()
    log.info("agent_upgrade_ended", extra={"version": row.version, "state": state, "reason": reason})
    wake.pages_on_commit(row.account_id, "servers")
    return row
