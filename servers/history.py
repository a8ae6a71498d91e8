"""What each server was to run, revision by revision, with its author and its cause.

A change writes its record in its own transaction, so that no change is missing, whether an agent is connected or not.
The content follows in the same transaction where that costs some 20 ms (`AT_ONCE_*`). Anything larger is compiled when
it is delivered, as ever, and kept then: importing 10,000 domains one by one must not compile 10,000 snapshots under the
server's row lock. Until then the record is open and the next change takes it over. A push is measured from the API's
answer: what is added to it is one indexed read, or with 10,000 domains about 20 ms for compression.
"""

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.tenancy import active_account_id
from domains.models import DomainServer
from domains.zone_models import ZoneRecord
from lumos.errors import Conflict
from lumos_agent.schema import SchemaError, Snapshot
from servers.diff import diff
from servers.locks import locked_servers
from servers.models import Server, SnapshotRecord, SnapshotState, epoch
from servers.rows import write
from servers.snapshots import Compiled, compile_snapshot, compile_snapshots
from waf.models import ListEntry

KEPT_PER_SERVER = 200
AT_ONCE_SERVERS = 5
AT_ONCE_ROWS = 200
BATCH = 500
# More pieces than that are as much work as the whole, and a shield that is away for long would have them all noted.
TOUCHED_MAX = 1_000
CONTENTS_AT_ONCE = 20
CAUSE_MAX = 255
_FASTEST = 1  # 2.8 MB of 10,000 domains: 17 ms and 20 %; level 6 takes 38 ms for 18 %


# The pieces of a snapshot that a change touches; None if it may be all.
Touched = set[str] | None


def both(first: Touched, second: Touched) -> Touched:
    """Return what two changes touch together."""
    return None if first is None or second is None else first | second


def note(touched: Mapping[Any, Touched], cause: AuditEntry | None) -> None:
    """Record the new revision of each server; the caller's transaction has written the rows and holds the servers."""
    revisions = dict(Server.objects.filter(pk__in=touched).values_list("pk", "revision"))
    opened = {r.server_id: r for r in SnapshotRecord.objects.filter(server_id__in=revisions, digest="")}
    account_id = active_account_id()
    new = [
        SnapshotRecord(account_id=account_id, server_id=pk, changes=0, touched=[])
        for pk in revisions
        if pk not in opened
    ]
    for row in (*opened.values(), *new):
        row.epoch, row.revision, row.created_at = epoch(), revisions[row.server_id], timezone.now()
        row.author, row.cause = (None, "") if cause is None else (cause.actor, cause_text(cause))
        row.changes += 1
        pieces = both(None if row.touched is None else set(row.touched), touched[row.server_id])
        row.touched = None if pieces is None or len(pieces) > TOUCHED_MAX else sorted(pieces)
    SnapshotRecord.objects.bulk_create(new)
    fields = ["epoch", "revision", "created_at", "author", "cause", "changes", "touched"]
    SnapshotRecord.objects.bulk_update(opened.values(), fields, batch_size=BATCH)
    if _is_small(list(touched)):
        keep(compile_snapshots(touched).items())


def _is_small(server_ids: Sequence[Any]) -> bool:
    """Whether compiling these servers at once is a matter of milliseconds; counts no further than needed."""
    if len(server_ids) > AT_ONCE_SERVERS:
        return False
    domain_ids = list(
        DomainServer.objects.filter(server_id__in=server_ids).values_list("domain_id", flat=True)[: AT_ONCE_ROWS + 1]
    )
    left = AT_ONCE_ROWS - len(domain_ids)
    left -= ZoneRecord.objects.filter(zone__nameservers__server__in=server_ids)[: AT_ONCE_ROWS + 1].count()
    entries = ListEntry.objects.filter(Q(domain_id__in=domain_ids) | Q(domain=None))
    return left >= 0 and entries[: left + 1].count() <= left


@transaction.atomic
def keep(contents: Iterable[tuple[Any, Compiled]]) -> None:
    """Close the open records of these (server id, content); nothing to do where that was done, or taken over since.

    What equals the record before it is not stored twice: that record goes on to stand for it.
    """
    by_record = {(server_id, one.epoch, one.revision): one for server_id, one in contents}
    locked_servers(server_id for server_id, _, _ in by_record)
    same, new = [], []
    for row in _opened({server_id for server_id, _, _ in by_record}):
        if (compiled := by_record.get((row.server_id, row.epoch, row.revision))) is None:
            continue
        if row.before == compiled.digest:
            same.append(row.pk)
            continue
        row.content, row.digest = zlib.compress(compiled.data, _FASTEST), compiled.digest
        row.domains = compiled.domains
        new.append(row)
    if same:
        SnapshotRecord.objects.filter(pk__in=same).delete()
    for first in range(0, len(new), CONTENTS_AT_ONCE):
        write(new[first : first + CONTENTS_AT_ONCE], ["content", "digest", "domains"])


def _opened(server_ids: Collection[Any]) -> QuerySet[Any]:
    """Return the open records of these servers, each with the digest `before` it."""
    older = SnapshotRecord.objects.filter(
        server=OuterRef("server"), epoch=OuterRef("epoch"), revision__lt=OuterRef("revision")
    )
    rows: QuerySet[Any] = SnapshotRecord.objects.filter(server_id__in=server_ids, digest="")
    found: QuerySet[Any] = rows.annotate(before=Subquery(older.order_by("-revision").values("digest")[:1]))
    return found


def mark(server_id: Any, revision: int, state: SnapshotState) -> None:
    """Note that a revision did not run."""
    rows = SnapshotRecord.objects.filter(server_id=server_id, epoch=epoch(), revision__lte=revision)
    newest = rows.order_by("-revision").values_list("pk", flat=True).first()
    rows.filter(pk=newest).update(state=state)


def mark_applied(server_ids: Collection[Any], known_epoch: str) -> None:
    """Note that these servers run the revisions that their rows name; what was waiting below will never run."""
    older = SnapshotRecord.objects.filter(
        server=OuterRef("pk"), epoch=known_epoch, revision__lte=OuterRef("applied_revision")
    )
    newest = Server.objects.filter(pk__in=server_ids).annotate(
        newest=Subquery(older.order_by("-revision").values("pk")[:1])
    )
    run = list(newest.values_list("newest", flat=True))
    SnapshotRecord.objects.filter(pk__in=run).update(state=SnapshotState.APPLIED)
    waiting = SnapshotRecord.objects.filter(server_id__in=server_ids, epoch=known_epoch, state=SnapshotState.PENDING)
    waiting.filter(revision__lte=F("server__applied_revision")).update(state=SnapshotState.SUPERSEDED)


def cause_text(entry: AuditEntry) -> str:
    """Return an audit entry as one line: what was done, to what, and the values that are short."""
    shown = [_field(name, *values) for name, values in entry.changes.items() if entry.object_label not in values]
    text = f"{entry.action.replace('.', ' ').replace('_', ' ')}: {entry.object_label}"
    return (text + (f" ({', '.join(shown)})" if shown else ""))[:CAUSE_MAX]


def _field(name: str, before: Any, after: Any) -> str:
    if isinstance(before, list) or isinstance(after, list):
        return name
    if before is None or after is None:
        return f"{name} {after if before is None else before}"
    return f"{name} {before} → {after}"


def records(server: Server) -> QuerySet[SnapshotRecord]:
    """Return a server's records without their content, newest first."""
    rows: QuerySet[SnapshotRecord] = SnapshotRecord.objects.filter(server=server)
    return rows.select_related("author").defer("content").order_by("-created_at", "-id")


def previous(record: SnapshotRecord) -> SnapshotRecord | None:
    """Return the record before this one."""
    return records(record.server).filter(created_at__lt=record.created_at).first()


def content(record: SnapshotRecord) -> Snapshot:
    """Return the snapshot of a record; that of an open one is compiled from the present rows.

    Raises:
        Conflict: the open record was taken over by a newer change, or the content is of a format that is gone.
    """
    if record.content is not None:
        try:
            return Snapshot.decode(zlib.decompress(record.content))
        except SchemaError as error:
            raise Conflict(
                f"Revision {record.revision} was written by a version of Lumos whose format this one no longer reads "
                f"({error}); choose a newer revision."
            ) from error
    compiled = compile_snapshot(record.server_id)
    if compiled is None or compiled.revision != record.revision:
        raise Conflict(f"Revision {record.revision} was replaced by a newer change just now; load the history again.")
    return Snapshot.decode(compiled.data)


def compare(record: SnapshotRecord, older: SnapshotRecord | None) -> dict[str, Any]:
    """Return what changed from `older` (None: nothing) to `record`, as `diff` has it, with both revisions."""
    old = Snapshot(server_id=str(record.server_id), domains=()) if older is None else content(older)
    revisions = {"revision": record.revision, "against": None if older is None else older.revision}
    return {**revisions, **diff(old, content(record))}


def expire() -> int:
    """Delete what is beyond the newest records of each server, of all tenants, in batches; returns how many."""
    age = Window(RowNumber(), partition_by="server_id", order_by=["-created_at", "-id"])
    beyond = SnapshotRecord.unscoped.annotate(age=age).filter(age__gt=KEPT_PER_SERVER).values_list("pk", flat=True)
    deleted = 0
    while batch := list(beyond[:BATCH]):
        deleted += SnapshotRecord.unscoped.filter(pk__in=batch).delete()[0]
    return deleted
