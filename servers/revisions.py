"""Desired revisions: they rise with every change, and reports say how far the shield has come."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.tenancy import active_account_id
from lumos_agent import protocol
from notifications import causes
from servers import history, wake
from servers.locks import locked_servers
from servers.models import ApplyState, Server, SnapshotState, epoch
from servers.rows import write

log = logging.getLogger(__name__)

APPLIED_FIELDS = (
    "applied_revision", "applied_digest", "epoch", "applied_at", "apply_report", "applied_domains", "apply_state",
    "removed_domains",
)  # fmt: skip


class _Held(NamedTuple):
    """What the bumps inside an open `together()` add up to."""

    removed: dict[Any, int]
    touched: dict[Any, history.Touched]


_held_back: ContextVar[_Held | None] = ContextVar("held_back_bumps", default=None)


def bump(
    servers: Iterable[Server],
    *,
    cause: AuditEntry | None = None,
    removed_domains: int = 0,
    touched: Iterable[Any] | None = None,
) -> None:
    """Raise the desired revision of `servers` in the caller's transaction and wake their gateways after commit.

    Args:
        servers: of the account in scope.
        cause: the audit entry of the change, for the history; all rows of the change are written already.
        removed_domains: how many domains a person just took from each of them; what a snapshot drops beyond that
            count is held back.
        touched: the ids of the domains and the listings ("scope/bucket") that differ; None if it may be all.
    """
    pieces = None if touched is None else set(map(str, touched))
    wanted = {server.pk: removed_domains for server in servers}
    if (held := _held_back.get()) is None:
        _raise(wanted, dict.fromkeys(wanted, pieces), cause)
        return
    for pk, removed in wanted.items():
        held.removed[pk] = held.removed.get(pk, 0) + removed
        held.touched[pk] = history.both(held.touched.get(pk, set()), pieces)


@contextmanager
def together(cause: AuditEntry) -> Iterator[None]:
    """Raise each revision once, at the end, for all the bumps inside: one transaction of many verbs is one change."""
    collected = _Held({}, {})
    token = _held_back.set(collected)
    try:
        yield
    finally:
        _held_back.reset(token)
    _raise(collected.removed, collected.touched, cause)


def _raise(wanted: Mapping[Any, int], touched: Mapping[Any, history.Touched], cause: AuditEntry | None) -> None:
    locked = locked_servers(wanted)
    if not locked:
        return
    for removed in sorted(set(wanted.values())):
        Server.objects.filter(pk__in=[pk for pk in locked if wanted[pk] == removed]).update(
            revision=F("revision") + 1,
            removed_domains=F("removed_domains") + removed,
            apply_state=ApplyState.PENDING,
            changed_at=timezone.now(),
        )
    history.note({pk: touched[pk] for pk in locked}, cause)
    wake.gateways_on_commit("wake", locked)
    wake.pages_on_commit(active_account_id(), "servers")


def disconnect(server: Server) -> None:
    """End the agent's connection after commit (its token is no longer valid)."""
    wake.gateways_on_commit("disconnect", [server.pk])


class Report(NamedTuple):
    """How applying went on a server. `domains` is the size of that snapshot if this gateway sent it."""

    server_id: Any
    report: protocol.Applied | protocol.Failed
    domains: int | None = None


@transaction.atomic
def record_reports(reports: Sequence[Report]) -> None:
    """Note what shields serve now, or refused."""
    rows, known_epoch = locked_servers(one.server_id for one in reports), epoch()
    applied: dict[Any, Server] = {}
    for one in reports:
        row = rows.get(one.server_id)
        if row is None or one.report.epoch != known_epoch:
            continue
        if isinstance(one.report, protocol.Failed):
            _refused(row, one.report)
        elif one.report.revision >= row.applied_revision:
            _applied(row, one.report, one.domains)
            applied[row.pk] = row
    if applied:
        write(applied.values(), APPLIED_FIELDS)
        history.mark_applied(list(applied), known_epoch)
        wake.pages_on_commit(active_account_id(), "servers")


def record_failed(*, server_id: Any, report: protocol.Failed) -> None:
    """Note that the shield refused a revision, with the daemon's own words."""
    record_reports([Report(server_id, report)])


def _applied(row: Server, report: protocol.Applied, domains: int | None) -> None:
    row.applied_revision, row.applied_digest, row.epoch = report.revision, report.digest, report.epoch
    row.applied_at = timezone.now()
    row.apply_report = {"how": report.how, "reason": report.reason, "duration_ms": report.duration_ms}
    if domains is not None:
        row.applied_domains = domains
    if report.revision >= row.revision:
        row.apply_state = ApplyState.APPLIED
        row.removed_domains = 0
    fields = {"revision": report.revision, "how": report.how, "ms": report.duration_ms}
    log.info("revision_applied", extra={"server_id": str(row.pk), **fields})


def _refused(row: Server, report: protocol.Failed) -> None:
    if report.revision < row.revision:
        return
    is_held = report.stage == "guard"
    row.apply_state = ApplyState.HELD if is_held else ApplyState.FAILED
    row.apply_report = {
        "stage": report.stage,
        "message": report.message.replace("\0", ""),  # PostgreSQL's JSON cannot hold NUL
        "rolled_back": report.rolled_back,
        "revision": report.revision,
        "digest": report.digest,
    }
    row.save(update_fields=["apply_state", "apply_report"])
    history.mark(row.pk, report.revision, SnapshotState.HELD if is_held else SnapshotState.FAILED)
    wake.pages_on_commit(row.account_id, "servers")
    causes.apply_failed(row, report)
    fields = {"revision": report.revision, "stage": report.stage}
    log.warning("revision_failed", extra={"server_id": str(row.pk), **fields})
