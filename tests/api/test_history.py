"""The history of what each server was to run."""

import zlib
from typing import Any

import pytest

from lumos.errors import Conflict
from lumos_agent import protocol
from lumos_agent.schema import Snapshot
from servers import history, revisions, tasks
from servers.models import Server, SnapshotRecord, SnapshotState, epoch
from servers.snapshots import compile_snapshot
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def newest(tenant: Tenant) -> SnapshotRecord:
    """Return the newest record of the tenant's server."""
    with tenant.scope:
        found: SnapshotRecord = SnapshotRecord.objects.filter(server=tenant.server).latest("created_at")
        return found


def test_every_change_is_recorded_with_author_cause_and_content(api: Api, alice: Tenant) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "detect"})
    with alice.scope:
        rows = list(history.records(alice.server))
        compiled = compile_snapshot(alice.server.pk)
    assert compiled is not None
    assert [row.cause for row in rows] == [
        "policy changed: alice.example (mode block → detect)",
        "list entry added: alice.example (deny 203.0.113.7/32)",
        "domain added: alice.example (origins, servers)",
    ]
    assert {row.author for row in rows} == {alice.owner}
    assert [row.revision for row in rows] == [3, 2, 1]
    assert (rows[0].digest, rows[0].domains, rows[0].epoch) == (compiled.digest, 1, compiled.epoch)
    with alice.scope:
        assert Snapshot.decode(compiled.data) == history.content(rows[0])


def test_change_that_leaves_the_snapshot_equal_is_not_stored_twice(api: Api, alice: Tenant) -> None:
    other = api.post("/servers", {"name": "second"}).json()["server"]["id"]
    api.patch(f"/domains/{alice.domain.pk}", {"servers": [str(alice.server.pk), other]})
    with alice.scope:
        assert Server.objects.get(pk=alice.server.pk).revision == alice.server.revision + 1
        assert history.records(alice.server).count() == 2
        assert SnapshotRecord.objects.get(server_id=other).revision == 1


def test_failed_change_leaves_no_record(api: Api, alice: Tenant) -> None:
    assert api.patch(f"/domains/{alice.domain.pk}", {"origins": []}).status_code == 400
    with alice.scope:
        assert history.records(alice.server).count() == 2


def report(revision: int) -> dict[str, Any]:
    return {"epoch": epoch(), "revision": revision, "digest": ""}


def test_reports_mark_the_record_and_pass_over_what_never_ran(api: Api, alice: Tenant) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"level": "high"})
    with alice.scope:
        failed = protocol.Failed(**report(3), stage="check", message="no", rolled_back=True)
        revisions.record_failed(server_id=alice.server.pk, report=failed)
        assert newest(alice).state == SnapshotState.FAILED
        applied = protocol.Applied(**report(2), how="reload")
        revisions.record_applied(server_id=alice.server.pk, report=applied, domains=1)
        states = list(history.records(alice.server).values_list("state", flat=True))
    assert states == [SnapshotState.FAILED, SnapshotState.APPLIED, SnapshotState.SUPERSEDED]


def test_held_back_is_marked(alice: Tenant) -> None:
    with alice.scope:
        held = protocol.Failed(**report(2), stage="guard", message="no", rolled_back=True)
        revisions.record_failed(server_id=alice.server.pk, report=held)
    assert newest(alice).state == SnapshotState.HELD


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every server count as too large to be compiled at once."""
    monkeypatch.setattr(history, "AT_ONCE_ROWS", 0)


@pytest.mark.usefixtures("large")
def test_large_server_has_one_open_record_until_delivery(api: Api, alice: Tenant) -> None:
    path = f"/policies/{alice.domain.policy.pk}"
    api.patch(path, {"level": "high"})
    api.patch(path, {"level": "low"})
    row = newest(alice)
    assert (row.digest, row.revision, row.changes) == ("", 4, 4)
    with alice.scope:
        assert history.content(row).domains[0].policy.level == "low"
        compiled = compile_snapshot(alice.server.pk)
        assert compiled is not None
        for _ in range(2):
            history.keep(alice.server.pk, compiled)
    kept = newest(alice)
    assert kept.content is not None
    assert zlib.decompress(kept.content) == compiled.data
    api.patch(path, {"mode": "off"})
    assert (newest(alice).revision, newest(alice).changes) == (5, 1)


@pytest.mark.usefixtures("large")
def test_delivery_of_what_was_overtaken_closes_nothing(api: Api, alice: Tenant) -> None:
    path = f"/policies/{alice.domain.policy.pk}"
    api.patch(path, {"level": "high"})
    with alice.scope:
        overtaken = compile_snapshot(alice.server.pk)
    api.patch(path, {"level": "low"})
    with alice.scope:
        assert overtaken is not None
        history.keep(alice.server.pk, overtaken)
    assert (newest(alice).revision, newest(alice).digest) == (4, "")


def test_size_decides_what_is_compiled_at_once(api: Api, alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [alice.server.pk]
    for rows, servers, small in ((2, 1, True), (1, 1, False), (0, 1, False), (2, 0, False)):
        monkeypatch.setattr(history, "AT_ONCE_ROWS", rows)
        monkeypatch.setattr(history, "AT_ONCE_SERVERS", servers)
        with alice.scope:
            assert history._is_small(ids) is small


def test_old_records_expire_per_server_in_batches(
    api: Api, alice: Tenant, mallory: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT_PER_SERVER", 3)
    monkeypatch.setattr(history, "EXPIRE_BATCH", 2)
    for number in range(6):
        api.patch(f"/policies/{alice.domain.policy.pk}", {"level": ("low", "high")[number % 2]})
    for _ in range(2):
        tasks.expire_old_rows()
        with alice.scope:
            assert list(history.records(alice.server).values_list("revision", flat=True)) == [8, 7, 6]
        with mallory.scope:
            assert history.records(mallory.server).count() == 2


def test_content_of_a_format_that_is_gone_is_a_conflict(alice: Tenant) -> None:
    SnapshotRecord.unscoped.filter(server=alice.server).update(content=zlib.compress(b'{"old": 1}'))
    with alice.scope, pytest.raises(Conflict, match="choose a newer revision"):
        history.content(newest(alice))
