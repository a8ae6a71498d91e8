"""Shields that run what this database does not know, because it was restored from an older backup.

Nothing is sent to such a shield until a person has decided: either the shield gets what the dashboard shows, or the
dashboard takes over what the shield runs, which the agent is asked for.
"""

import binascii
import logging
import uuid
import zlib
from base64 import b64decode

from django.db import transaction
from django.db.models import F

from accounts import audit
from accounts.models import User
from accounts.tenancy import active_account_id
from lumos.errors import Conflict
from lumos_agent import protocol
from lumos_agent.schema import EMPTY_DIGEST, SchemaError, Snapshot, digest_of
from notifications import causes
from servers import history, revisions, wake
from servers.models import ApplyState, Server, SnapshotRecord, SnapshotState, epoch
from servers.restore import Restored, restore_snapshot
from servers.snapshots import Compiled

log = logging.getLogger(__name__)

CAUSE = "found on the shield after the database was restored"
STAGE = "restored database"
MESSAGE = (
    "The database was restored from an older backup, and this shield runs a configuration that is not in it. The "
    "shield goes on with it, and nothing is sent, until you decide which of the two counts."
)
SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024


def is_parted(server: Server, compiled: Compiled, agent_digest: str) -> bool:
    """Whether the shield runs something else than the restored database wants; notes that it is held back.

    The caller's transaction has locked `server`.
    """
    if server.epoch in ("", compiled.epoch) or agent_digest in ("", EMPTY_DIGEST, compiled.digest):
        return False
    if not _is_held(server) or server.apply_report["digest"] != agent_digest:
        report = {"stage": STAGE, "message": MESSAGE, "revision": compiled.revision, "digest": agent_digest}
        Server.objects.filter(pk=server.pk).update(apply_state=ApplyState.HELD, apply_report=report)
        history.mark(server.pk, compiled.revision, SnapshotState.HELD)
        wake.pages_on_commit(server.account_id, "servers")
        causes.shield_parted(server)
        log.warning("shield_parted", extra={"server_id": str(server.pk), "revision": compiled.revision})
    return True


def _is_held(server: Server) -> bool:
    return server.apply_state == ApplyState.HELD and server.apply_report.get("stage") == STAGE


def found_on(server: Server) -> SnapshotRecord | None:
    """Return what a shield that is held back runs, or None if it is not held back, or has not said so yet."""
    if not _is_held(server):
        return None
    rows = SnapshotRecord.objects.filter(server=server, digest=server.apply_report["digest"])
    return rows.order_by("-created_at").first()


@transaction.atomic
def record_running(*, server_id: uuid.UUID, running: protocol.RunningSnapshot) -> None:
    """Keep what the agent says that its shield runs, if it is the snapshot of that digest."""
    server: Server = Server.objects.select_for_update().get(pk=server_id)
    if not _is_held(server) or server.apply_report["digest"] != running.digest or found_on(server) is not None:
        return
    if (snapshot := _decoded(server, running)) is None:
        return
    SnapshotRecord.objects.create(
        server=server,
        account_id=active_account_id(),
        epoch=running.epoch[:32],
        revision=running.revision,
        digest=running.digest,
        content=zlib.compress(snapshot.encode(), 1),
        domains=len(snapshot.domains),
        cause=CAUSE,
        state=SnapshotState.APPLIED,
    )
    wake.pages_on_commit(server.account_id, "servers")


def _decoded(server: Server, running: protocol.RunningSnapshot) -> Snapshot | None:
    try:
        inflated = zlib.decompressobj().decompress(b64decode(running.content, validate=True), SNAPSHOT_BYTES_MAX)
        snapshot = Snapshot.decode(inflated)
    except (binascii.Error, ValueError, zlib.error, SchemaError):
        return None
    is_its_own = snapshot.server_id == str(server.pk) and digest_of(inflated) == running.digest
    return snapshot if is_its_own else None


@transaction.atomic
def send_dashboards(*, server: Server, actor: User) -> None:
    """Send a shield that is held back what the dashboard shows.

    Raises:
        Conflict: it is not held back.
    """
    if not _is_held(Server.objects.select_for_update(no_key=True).get(pk=server.pk)):
        raise Conflict("Nothing is held back on this shield any more.")
    Server.objects.filter(pk=server.pk).update(removed_domains=F("applied_domains"))
    _decide(server, actor, "what the dashboard shows")


@transaction.atomic
def take_shields(*, server: Server, actor: User) -> Restored:
    """Make the dashboard show what a shield that is held back runs: its domains, their policies and lists.

    Raises:
        Conflict: it is not held back, or has not said what it runs, or a hostname is taken by now.
        InvalidInput: a value of the snapshot breaks a rule of today.
    """
    if (record := found_on(Server.objects.get(pk=server.pk))) is None:
        raise Conflict(
            "The shield has not said what it runs. It must be connected, and held back; a configuration of many "
            "thousand domains or list entries is too large to be taken over."
        )
    restored = restore_snapshot(record=record, actor=actor)
    _decide(server, actor, "what the shield runs")
    return restored


def _decide(server: Server, actor: User, what: str) -> None:
    entry = audit.record(actor, audit.Action.SERVER_REUNITED, server, {"counts": [None, what]})
    Server.objects.filter(pk=server.pk).update(epoch=epoch())
    revisions.bump([server], cause=entry)
