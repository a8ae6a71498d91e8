"""What root is asked to do on a shield: uninstall (decommissioning) or upgrade the agent. One thing at a time."""

import uuid
from collections.abc import Collection, Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from lumos_agent import protocol
from servers import services, wake
from servers.models import Server, UpgradeState


def ask(servers: Iterable[Server], **values: Any) -> None:
    """Ask these servers of the account in scope, or ask again, after commit; `values` are columns that say for what."""
    rows = list(servers)
    for row in rows:
        Server.objects.filter(pk=row.pk).update(
            errand_id=uuid.uuid4(), errand_asked_at=timezone.now(), errand_error="", **values
        )
    if rows:
        wake.gateways_on_commit("errand", [row.pk for row in rows])
        wake.pages_on_commit(rows[0].account_id, "servers")


def errands_of(server_ids: Collection[Any]) -> dict[Any, protocol.Errand | None]:
    """Return {server id: what its agent is to have done} of servers in scope, as far as they can have it done."""
    rows = Server.objects.filter(pk__in=server_ids, facts__takes_errands=True, errand_error="")
    return {row.pk: _errand_of(row) for row in rows.exclude(errand_id=None).select_related("upgrade")}


def _errand_of(row: Server) -> protocol.Errand | None:
    if row.decommissioned_at is not None:
        return protocol.Errand(id=str(row.errand_id), kind="uninstall")
    wanted = row.upgrade
    if wanted is None or wanted.state != UpgradeState.RUNNING or row.facts.get("agent_version") == wanted.version:
        return None
    return protocol.Errand(id=str(row.errand_id), kind="upgrade", version=wanted.version, sha256=wanted.sha256)


@transaction.atomic
def record_done(*, server_id: Any, done: protocol.ErrandDone) -> None:
    """Take what root says of an errand. That an upgrade worked, the new agent shows by its version."""
    found = Server.objects.filter(pk=server_id, errand_id=done.id)
    if (row := found.first()) is None:
        return
    if not done.is_done:
        # PostgreSQL cannot hold NUL.
        found.update(errand_error=done.message.replace("\0", "") or "no reason was given")
    elif row.decommissioned_at is not None:
        services.forget_server(row, actor=None)
    wake.pages_on_commit(row.account_id, "servers")
