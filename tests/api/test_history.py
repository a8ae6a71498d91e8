"""The history of what each server was to run."""

import json
import uuid
import zlib
from typing import Any

import pytest

from lumos.errors import Conflict
from lumos_agent import protocol
from lumos_agent.schema import Snapshot
from servers import history, revisions, tasks
from servers.models import Epoch, Server, SnapshotRecord, SnapshotState, epoch
from servers.snapshots import compile_snapshot
from tests import factories
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
        "domain added: alice.example (origins, servers, certificate acme, rollout all)",
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
        revisions.record_reports([revisions.Report(alice.server.pk, applied, 1)])
        states = list(history.records(alice.server).values_list("state", flat=True))
    assert states == [SnapshotState.FAILED, SnapshotState.APPLIED, SnapshotState.SUPERSEDED]


def test_held_back_is_marked(alice: Tenant) -> None:
    with alice.scope:
        held = protocol.Failed(**report(2), stage="guard", message="no", rolled_back=True)
        revisions.record_failed(server_id=alice.server.pk, report=held)
    assert newest(alice).state == SnapshotState.HELD


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every server count as too large to be compiled at once, from its first revision on."""
    monkeypatch.setattr(factories, "MOULDS", {})
    monkeypatch.setattr(history, "AT_ONCE_ROWS", 0)


@pytest.mark.usefixtures("large")
def test_large_server_has_one_open_record_until_delivery(api: Api, alice: Tenant) -> None:
    policy = f"/policies/{alice.domain.policy.pk}"
    api.patch(policy, {"level": "high"})
    api.patch(policy, {"level": "low"})
    row = newest(alice)
    assert (row.digest, row.revision, row.changes) == ("", 4, 4)
    with alice.scope:
        assert history.content(row).domains[0].policy.level == "low"
        compiled = compile_snapshot(alice.server.pk)
        assert compiled is not None
        for _ in range(2):
            history.keep([(alice.server.pk, compiled)])
    kept = newest(alice)
    assert kept.content is not None
    assert zlib.decompress(kept.content) == compiled.data
    api.patch(policy, {"mode": "off"})
    assert (newest(alice).revision, newest(alice).changes) == (5, 1)


@pytest.mark.usefixtures("large")
def test_delivery_of_what_was_overtaken_closes_nothing(api: Api, alice: Tenant) -> None:
    policy = f"/policies/{alice.domain.policy.pk}"
    api.patch(policy, {"level": "high"})
    with alice.scope:
        overtaken = compile_snapshot(alice.server.pk)
    api.patch(policy, {"level": "low"})
    with alice.scope:
        assert overtaken is not None
        history.keep([(alice.server.pk, overtaken)])
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
    monkeypatch.setattr(history, "BATCH", 2)
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


def path(tenant: Tenant, rest: str = "") -> str:
    return f"/servers/{tenant.server.pk}/snapshots{rest}"


def test_list_is_paged_newest_first_and_has_no_content(
    api: Api, alice: Tenant, django_assert_max_num_queries: Any
) -> None:
    first = api.get(path(alice, "?page_size=1")).json()
    assert [row["revision"] for row in first["results"]] == [2]
    second = api.get(path(alice) + "?" + first["next"].partition("?")[2]).json()
    assert [row["revision"] for row in second["results"]] == [1]
    row = first["results"][0]
    assert (row["author"], row["state"], row["domains"], row["changes"]) == ("alice@example.com", "pending", 1, 1)
    assert "content" not in row
    with django_assert_max_num_queries(6):
        api.get(path(alice))


def test_one_revision_shows_what_the_agent_gets(api: Api, alice: Tenant) -> None:
    shown = api.get(path(alice, "/2")).json()
    with alice.scope:
        compiled = compile_snapshot(alice.server.pk)
    assert compiled is not None
    assert shown["content"] == json.loads(compiled.data)
    assert shown["digest"] == compiled.digest


@pytest.mark.parametrize("rest", ["/99", "/99/diff", "/2/diff?against=99", "/x", "/-1", "/" + "9" * 18, "/" + "9" * 40])
def test_revision_that_is_none_is_404(api: Api, alice: Tenant, rest: str) -> None:
    assert api.get(path(alice, rest)).status_code == 404


def test_server_that_is_none_is_404(api: Api) -> None:
    for server in (str(uuid.uuid4()), "-" * 36, "x"):
        assert api.get(f"/servers/{server}/snapshots").status_code == 404


def test_revision_of_another_server_is_404(api: Api, alice: Tenant) -> None:
    other = api.post("/servers", {"name": "second"}).json()["server"]["id"]
    assert api.get(f"/servers/{other}/snapshots/2").status_code == 404


def test_diff_shows_the_fields_that_changed(api: Api, alice: Tenant) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "detect"})
    api.patch(f"/domains/{alice.domain.pk}", {"origins": [{"address": "10.0.0.9", "port": 81}]})
    body = {"hostname": "shop.example", "origins": [{"address": "10.0.0.1", "port": 80}]}
    api.post("/domains", {**body, "servers": [str(alice.server.pk)]})
    found = api.get(path(alice, "/5/diff?against=1")).json()
    assert (found["revision"], found["against"]) == (5, 1)
    assert [d["hostname"] for d in found["added"]] == ["shop.example"]
    assert found["removed"] == []
    (changed,) = found["changed"]
    assert changed["hostname"] == "alice.example"
    assert changed["changes"]["policy.mode"] == {"before": "block", "after": "detect"}
    assert changed["changes"]["lists.deny"] == {"added": ["203.0.113.7/32"], "removed": []}
    assert changed["changes"]["origins"]["after"][0]["address"] == "10.0.0.9"
    assert set(changed["changes"]) == {"policy.mode", "lists.deny", "origins"}
    backwards = api.get(path(alice, "/1/diff?against=5")).json()
    assert [d["hostname"] for d in backwards["removed"]] == ["shop.example"]


def test_diff_without_against_is_what_the_revision_brought(api: Api, alice: Tenant) -> None:
    assert list(api.get(path(alice, "/2/diff")).json()["changed"][0]["changes"]) == ["lists.deny"]
    first = api.get(path(alice, "/1/diff")).json()
    assert (first["against"], [d["hostname"] for d in first["added"]]) == (None, ["alice.example"])


@pytest.mark.parametrize("against", ["x", "-1", "1.5", "9" * 30])
def test_against_must_be_a_revision(api: Api, alice: Tenant, against: str) -> None:
    answer = api.get(path(alice, f"/2/diff?against={against}"))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "against")


def test_after_a_restored_backup_the_newest_record_of_a_revision_counts(api: Api, alice: Tenant) -> None:
    Epoch.objects.create(value="restored")
    Server.unscoped.filter(pk=alice.server.pk).update(revision=1)
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "off"})
    assert api.get(path(alice, "/2")).json()["epoch"] == "restored"
    assert [row["revision"] for row in api.get(path(alice)).json()["results"]] == [2, 2, 1]


def test_preview_shows_the_configuration_of_the_present_rows(api: Api, alice: Tenant) -> None:
    shown = api.get(f"/servers/{alice.server.pk}/preview").json()
    assert shown["revision"] == alice.server.revision
    assert f"backend d-{alice.domain.pk} from shield\n" in shown["haproxy_cfg"]
    assert " 127.0.0.1:8080 weight 100\n" in shown["haproxy_cfg"]
    with alice.scope:
        assert SnapshotRecord.objects.count() == 2
