"""Desired revisions: they rise with every change, and reports say how far the shield has come."""

import logging
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import AuditEntry
from lumos_agent import protocol
from servers import history, wake
from servers.models import ApplyState, Server, SnapshotState, epoch

log = logging.getLogger(__name__)


def bump(servers: Iterable[Server], *, cause: AuditEntry | None = None, removed_domains: int = 0) -> None:
    """Raise the desired revision of `servers` in the caller's transaction and wake their gateways after commit.

    Args:
        servers: of the account in scope.
        cause: the audit entry of the change, for the history; all rows of the change are written already.
        removed_domains: how many domains a person just took from each of them; what a snapshot drops beyond that
            count is held back.
    """
    ids = sorted(server.pk for server in servers)
    if not ids:
        return
    # Sorted locks: two changes that touch the same servers cannot deadlock.
    locked = list(Server.objects.select_for_update().filter(pk__in=ids).order_by("pk").values_list("pk", "account_id"))
    Server.objects.filter(pk__in=ids).update(
        revision=F("revision") + 1,
        removed_domains=F("removed_domains") + removed_domains,
        apply_state=ApplyState.PENDING,
        changed_at=timezone.now(),
    )
    history.note(ids, cause)
    wake.gateways_on_commit("wake", ids)
    wake.pages_on_commit(locked[0][1], "servers")


def disconnect(server: Server) -> None:
    """End the agent's connection after commit (its token is no longer valid)."""
    wake.gateways_on_commit("disconnect", [server.pk])


@transaction.atomic
def record_applied(*, server_id: Any, report: protocol.Applied, domains: int | None) -> None:
    """Note that the shield serves a revision. `domains` is the size of that snapshot when this gateway sent it."""
    row = Server.objects.select_for_update().filter(pk=server_id).first()
    if row is None or report.epoch != epoch() or report.revision < row.applied_revision:
        return
    row.applied_revision, row.applied_digest = report.revision, report.digest
    row.applied_at = timezone.now()
    row.apply_report = {"how": report.how, "reason": report.reason, "duration_ms": report.duration_ms}
    if domains is not None:
        row.applied_domains = domains
    if report.revision >= row.revision:
        row.apply_state = ApplyState.APPLIED
        row.removed_domains = 0
    row.save()
    history.mark(server_id, report.revision, SnapshotState.APPLIED)
    wake.pages_on_commit(row.account_id, "servers")
    log.info("revision_applied", extra={"revision": report.revision, "how": report.how, "ms": report.duration_ms})


@transaction.atomic
def record_failed(*, server_id: Any, report: protocol.Failed) -> None:
    """Note that the shield refused a revision, with the daemon's own words."""
    row = Server.objects.select_for_update().filter(pk=server_id).first()
    if row is None or report.epoch != epoch() or report.revision < row.revision:
        return
    is_held = report.stage == "guard"
    row.apply_state = ApplyState.HELD if is_held else ApplyState.FAILED
    row.apply_report = {
        "stage": report.stage,
        "message": report.message,
        "rolled_back": report.rolled_back,
        "revision": report.revision,
        "digest": report.digest,
    }
    row.save()
    history.mark(server_id, report.revision, SnapshotState.HELD if is_held else SnapshotState.FAILED)
    wake.pages_on_commit(row.account_id, "servers")
    log.warning("revision_failed", extra={"revision": report.revision, "stage": report.stage})
