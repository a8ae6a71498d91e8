"""Rolling a server back to an earlier revision."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from accounts.models import AuditEntry
from domains.models import Domain
from lumos_agent import schema
from servers import history
from servers.models import Server, SnapshotRecord
from servers.snapshots import snapshot_of
from tests.conftest import Api
from tests.factories import Tenant
from waf.models import ListEntry

pytestmark = pytest.mark.django_db


def snapshots(tenant: Tenant, rest: str = "") -> str:
    return f"/servers/{tenant.server.pk}/snapshots{rest}"


def restore(api: Api, tenant: Tenant, revision: int) -> Any:
    answer = api.post(snapshots(tenant, f"/{revision}/restore"))
    assert answer.status_code == 200, answer.content
    return answer.json()


def hostnames(tenant: Tenant) -> list[str]:
    with tenant.scope:
        return [d.hostname for d in snapshot_of(tenant.server).domains]


def newest_revision(tenant: Tenant) -> int:
    with tenant.scope:
        return int(Server.objects.get(pk=tenant.server.pk).revision)


def is_as(api: Api, tenant: Tenant, revision: int) -> bool:
    """Whether the newest revision has no difference to `revision`."""
    found = api.get(snapshots(tenant, f"/{newest_revision(tenant)}/diff?against={revision}")).json()
    return not (found["added"] or found["removed"] or found["changed"])


def change_everything(api: Api, tenant: Tenant) -> None:
    """Change each thing that a snapshot holds, one revision each."""
    path = f"/domains/{tenant.domain.pk}"
    origins = [{"address": "10.0.0.9", "port": 443, "weight": 7, "tls": "verify"}]
    backup = {"address": "origin.example.com", "port": 8443, "backup": True, "tls": "on"}
    assert api.patch(path, {"origins": [*origins, backup], "hostname": "new.example"}).status_code == 200
    assert api.patch(f"/policies/{tenant.domain.policy.pk}", {"mode": "off", "level": "high"}).status_code == 200
    assert api.patch(f"/policies/{tenant.domain.policy.pk}", {"groups": {"sqli": "detect"}}).status_code == 200
    body = {"domain": str(tenant.domain.pk), "rule": "xss", "path": "/cms", "parameter": "text"}
    assert api.post("/exclusions", body).status_code == 201
    rule = {"domain": str(tenant.domain.pk), "name": "r", "expression": 'ip eq "192.0.2.1"', "action": "block"}
    assert api.post("/custom-rules", rule).status_code == 201
    script = {"mode": "on", "fails": "closed", "source": "ngx.exit(403)"}
    assert api.patch(f"/domains/{tenant.domain.pk}/script", script).status_code == 200
    assert api.delete(f"/ip-lists/{tenant.entry.pk}").status_code == 204
    for kind, network in (("allow", "10.1.0.0/16"), ("deny", "2001:db8::/32")):
        body = {"domain": str(tenant.domain.pk), "kind": kind, "network": network}
        assert api.post("/ip-lists", body).status_code == 201


def add(api: Api, hostname: str, *servers: Any) -> str:
    origins = [{"address": "127.0.0.1", "port": 8080}]
    answer = api.post("/domains", {"hostname": hostname, "origins": origins, "servers": [str(s) for s in servers]})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def test_everything_in_a_snapshot_comes_back_as_one_revision(api: Api, alice: Tenant) -> None:
    change_everything(api, alice)
    changed = newest_revision(alice)
    assert restore(api, alice, 2) == {"revision": changed + 1, "domains": 1}
    assert is_as(api, alice, 2)
    assert restore(api, alice, changed) == {"revision": changed + 2, "domains": 1}
    assert is_as(api, alice, changed)


def test_restore_knows_every_part_of_a_snapshot() -> None:
    """A new part of the schema needs its line in servers/restore.py; then it may be added here."""
    assert schema.Snapshot.__struct_fields__ == (
        "server_id",
        "uploads",
        "acme",
        "under_attack",
        "tunnels",
        "zones",
        "failover",
        "forwards",
        "flood",
        "cdns",
        "domains",
        "lists",
    )
    assert schema.Domain.__struct_fields__ == (
        "id", "hostname", "origins", "policy", "guard", "script", "traffic", "certificate",
    )  # fmt: skip
    assert schema.Script.__struct_fields__ == ("mode", "fails", "source")
    assert schema.Policy.__struct_fields__ == ("mode", "level", "groups", "exclusions", "custom")
    assert schema.Origin.__struct_fields__ == ("address", "port", "weight", "backup", "tls", "id", "enabled")


def test_it_is_in_the_audit_and_in_the_history(api: Api, alice: Tenant) -> None:
    change_everything(api, alice)
    changed = newest_revision(alice)
    restore(api, alice, 2)
    with alice.scope:
        entry = AuditEntry.objects.get(action="server.restored")
        assert (entry.changes, entry.actor) == ({"revision": [changed, 2]}, alice.owner)
        assert AuditEntry.objects.filter(action="lists.replaced").get().changes == {
            "allow": [["10.1.0.0/16"], []],
            "deny": [["2001:db8::/32"], ["203.0.113.7/32"]],
        }
        row = history.records(alice.server)[0]
    assert (row.cause, row.author) == (f"server restored: alice-shield (revision {changed} → 2)", alice.owner)


def test_nothing_to_set_back_changes_nothing(api: Api, alice: Tenant) -> None:
    assert restore(api, alice, 2) == {"revision": 2, "domains": 0}
    with alice.scope:
        assert not AuditEntry.objects.filter(action="server.restored").exists()


def test_domain_that_is_gone_comes_back_with_its_id_policy_and_lists(api: Api, alice: Tenant) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "detect"})
    api.delete(f"/domains/{alice.domain.pk}")
    assert hostnames(alice) == []
    assert restore(api, alice, 3)["domains"] == 1
    assert api.get(f"/domains/{alice.domain.pk}").json()["hostname"] == "alice.example"
    assert is_as(api, alice, 3)


def test_domain_that_came_later_leaves_this_server_only(api: Api, alice: Tenant) -> None:
    other = api.post("/servers", {"name": "second"}).json()["server"]["id"]
    shared = add(api, "shared.example", alice.server.pk, other)
    alone = add(api, "alone.example", alice.server.pk)
    assert restore(api, alice, 2)["domains"] == 2
    assert hostnames(alice) == ["alice.example"]
    assert api.get(f"/domains/{shared}").json()["servers"] == [other]
    assert api.get(f"/domains/{alone}").json()["servers"] == []
    with alice.scope:
        assert Server.objects.get(pk=alice.server.pk).removed_domains == 2


def test_domain_that_moved_away_is_assigned_again_after_its_servers(api: Api, alice: Tenant) -> None:
    other = api.post("/servers", {"name": "second"}).json()["server"]["id"]
    api.patch(f"/domains/{alice.domain.pk}", {"servers": [other]})
    restore(api, alice, 2)
    assert api.get(f"/domains/{alice.domain.pk}").json()["servers"] == [other, str(alice.server.pk)]


def test_domain_that_was_removed_and_added_again_by_hand_is_the_same_site(api: Api, alice: Tenant) -> None:
    api.delete(f"/domains/{alice.domain.pk}")
    again = add(api, "alice.example", alice.server.pk)
    assert restore(api, alice, 2)["domains"] == 1
    assert is_as(api, alice, 2)
    assert api.get(f"/domains/{again}").status_code == 200


def test_hostname_that_is_used_elsewhere_is_a_conflict_and_nothing_changes(api: Api, alice: Tenant) -> None:
    other = api.post("/servers", {"name": "second"}).json()["server"]["id"]
    api.delete(f"/domains/{alice.domain.pk}")
    add(api, "alice.example", other)
    add(api, "later.example", alice.server.pk)
    before = newest_revision(alice)
    answer = api.post(snapshots(alice, "/2/restore"))
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:lumos:problem:conflict")
    assert "alice.example" in answer.json()["detail"]
    assert "Remove or rename" in answer.json()["detail"]
    assert (newest_revision(alice), hostnames(alice)) == (before, ["later.example"])


def test_hostname_of_another_account_is_no_conflict(api: Api, alice: Tenant, mallory: Tenant) -> None:
    api.delete(f"/domains/{alice.domain.pk}")
    add(Api(mallory.api_key), "alice.example", mallory.server.pk)
    restore(api, alice, 2)
    assert hostnames(alice) == ["alice.example"]


def test_notes_of_entries_that_stay_are_kept(api: Api, alice: Tenant) -> None:
    with alice.scope:
        ListEntry.objects.filter(pk=alice.entry.pk).update(note="scanner")
    api.post("/ip-lists", {"domain": str(alice.domain.pk), "kind": "deny", "network": "192.0.2.0/24"})
    restore(api, alice, 2)
    with alice.scope:
        assert list(ListEntry.objects.values_list("network", "note")) == [("203.0.113.7/32", "scanner")]


def test_snapshot_of_another_server_or_account_is_404(api: Api, alice: Tenant, mallory: Tenant) -> None:
    other = api.post("/servers", {"name": "second"}).json()["server"]["id"]
    for server, revision in ((other, 2), (mallory.server.pk, 2), (uuid.uuid4(), 2), (alice.server.pk, 99)):
        assert api.post(f"/servers/{server}/snapshots/{revision}/restore").status_code == 404
    with mallory.scope:
        assert Server.objects.get().revision == mallory.server.revision


def test_many_changes_of_a_server_are_locked_once(api: Api, alice: Tenant) -> None:
    ids = [add(api, f"d{number}.example", alice.server.pk) for number in range(5)]
    full = newest_revision(alice)
    for pk in ids:
        api.delete(f"/domains/{pk}")
    with alice.scope:
        before = SnapshotRecord.objects.count()
    restore(api, alice, full)
    with alice.scope:
        assert SnapshotRecord.objects.count() == before + 1
        assert Domain.objects.count() == 6
    assert is_as(api, alice, full)


def at_once(*calls: Any) -> list[Any]:
    """Run calls in threads that start together; returns their results."""
    start = Barrier(len(calls))

    def run(call: Any) -> Any:
        start.wait(10)
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result(60) for future in [threads.submit(run, call) for call in calls]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
def test_two_roll_backs_at_once_follow_one_another(api: Api, alice: Tenant, attempt: int) -> None:
    change_everything(api, alice)
    changed = newest_revision(alice)
    api.delete(f"/domains/{alice.domain.pk}")
    other_one = add(api, "later.example", alice.server.pk)
    answers = at_once(
        *(lambda revision=revision: Api(alice.api_key).post(snapshots(alice, f"/{revision}/restore"))
          for revision in (2, changed, 2))
    )  # fmt: skip
    assert [a.status_code for a in answers] == [200, 200, 200], [a.content for a in answers]
    assert is_as(api, alice, 2) != is_as(api, alice, changed)
    assert api.get(f"/domains/{other_one}").json()["servers"] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
def test_roll_back_among_other_changes_neither_fails_nor_blocks(api: Api, alice: Tenant, attempt: int) -> None:
    change_everything(api, alice)
    path = f"/domains/{alice.domain.pk}"
    origins = [{"address": "10.7.7.7", "port": 80}]
    body = {"domain": str(alice.domain.pk), "kind": "deny", "network": "198.51.100.0/24"}
    answers = at_once(
        lambda: Api(alice.api_key).post(snapshots(alice, "/2/restore")),
        lambda: Api(alice.api_key).patch(path, {"origins": origins, "servers": [str(alice.server.pk)]}),
        lambda: Api(alice.api_key).post("/ip-lists", body),
        lambda: Api(alice.api_key).post("/domains", {"hostname": "x.example", "origins": origins, "servers": []}),
    )
    assert [a.status_code for a in answers] == [200, 200, 201, 201], [a.content for a in answers]
    with alice.scope:
        row = history.records(alice.server)[0]
        assert history.content(row) == snapshot_of(alice.server)
