"""What a gateway does for many agents at once costs as many queries as for two, and treats each as if alone."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.tenancy import TenantScopeError
from domains.services import change_domain
from lumos_agent import protocol
from servers import history, revisions, sessions, steps
from servers.models import ApplyState, Server, SnapshotRecord, SnapshotState, epoch
from servers.revisions import Report
from servers.services import add_server
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """Nine servers beside alice's, whose newest revision has not been compiled."""
    monkeypatch.setattr("servers.history.AT_ONCE_SERVERS", 0)
    with alice.scope:
        fleet = [add_server(name=f"s{number}", actor=alice.owner)[0] for number in range(9)]
        change_domain(domain_id=alice.domain.pk, actor=alice.owner, servers=[alice.server, *fleet])
        return list(Server.objects.exclude(pk=alice.server.pk).order_by("pk"))


def asked(servers: list[Server]) -> list[steps.Asked]:
    return [steps.Asked(server.pk, -1, "") for server in servers]


def done(server_id: Any, revision: int, digest: str = "d" * 64, of: str = "") -> Report:
    report = protocol.Applied(epoch=of or epoch(), revision=revision, digest=digest, how="reload")
    return Report(server_id, report, 7)


def greeting(server: Server) -> sessions.Greeting:
    facts = protocol.Facts(clock=1.0, probe_port=8053)
    hello = protocol.Hello(protocol=1, boot_id=str(server.pk), epoch="", revision=0, digest="", facts=facts)
    return sessions.Greeting(server.pk, hello)


def cost(call: Callable[..., Any], account_id: Any, items: list[Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert len(call(account_id, items)) == len(items)
    return len(queries)


def test_two_servers_cost_as_much_as_seven(alice: Tenant, fleet: list[Server]) -> None:
    account: Any = alice.account.pk
    costs: list[list[int]] = []
    beat = protocol.Heartbeat(clock=1.0, haproxy_running=True)
    for servers in (fleet[:2], fleet[2:]):
        told = steps.next_steps(account, asked(servers))
        contents = [(one.pk, step.compiled) for one, step in zip(servers, told, strict=True) if step]
        assert len(contents) == len(servers)
        with alice.scope:
            reports = [done(pk, compiled.revision, compiled.digest) for pk, compiled in contents]
        calls: list[tuple[Any, list[Any]]] = [
            (sessions.record_hellos, [greeting(one) for one in servers]),
            (sessions.record_heartbeats, [(one.pk, beat) for one in servers]),
            (steps.next_steps, asked(servers)),
            (steps.keep_contents, contents),
            (sessions.record_reports, reports),
            (sessions.wanted_errands, [one.pk for one in servers]),
        ]
        costs.append([cost(call, account, items) for call, items in calls])
    assert costs[0] == costs[1]
    with alice.scope:
        rows = Server.objects.filter(pk__in=[server.pk for server in fleet])
        assert {(row.apply_state, row.facts["probe_port"]) for row in rows} == {(ApplyState.APPLIED, 8053)}
        newest = [history.records(server)[0] for server in fleet]
        assert {(row.state, bool(row.digest)) for row in newest} == {(SnapshotState.APPLIED, True)}


def test_each_is_treated_as_if_alone(alice: Tenant, mallory: Tenant, fleet: list[Server]) -> None:
    told_before, in_sync, shrunk, parted, gone, usual, *_ = fleet
    account = alice.account.pk
    usual_digest = steps.next_steps(account, asked([in_sync]))[0]
    assert usual_digest is not None
    with alice.scope:
        Server.objects.filter(pk=shrunk.pk).update(applied_domains=10)
        Server.objects.filter(pk=parted.pk).update(epoch="another")
        Server.objects.filter(pk=gone.pk).delete()
    told = steps.next_steps(
        account,
        [
            steps.Asked(told_before.pk, Server.unscoped.get(pk=told_before.pk).revision, ""),
            steps.Asked(in_sync.pk, -1, usual_digest.compiled.digest),
            steps.Asked(shrunk.pk, -1, ""),
            steps.Asked(parted.pk, -1, "f" * 64),
            steps.Asked(gone.pk, -1, ""),
            steps.Asked(mallory.server.pk, -1, ""),
            steps.Asked(usual.pk, -1, ""),
        ],
    )
    kinds = [None if step is None else type(step.message).__name__ for step in told]
    assert kinds == [None, "InSync", None, "SnapshotWanted", None, None, "Config"]
    with alice.scope:
        states = dict(Server.objects.values_list("pk", "apply_state"))
        assert [states[one.pk] for one in (shrunk, parted, usual)] == ["held", "held", "applying"]


def test_reports_of_one_batch(alice: Tenant, fleet: list[Server]) -> None:
    one, two, three, *_ = fleet
    with alice.scope:
        failed = protocol.Failed(
            epoch=epoch(), revision=two.revision, digest="d" * 64, stage="check", message="no", rolled_back=True
        )
        reports = [done(one.pk, one.revision), Report(two.pk, failed), done(three.pk, three.revision, of="another")]
        revisions.record_reports(reports)
        rows = [Server.objects.get(pk=server.pk) for server in (one, two, three)]
        assert [row.apply_state for row in rows] == ["applied", "failed", "pending"]
        assert [row.applied_domains for row in rows] == [7, 0, 0]
        found = SnapshotRecord.objects.filter(server__in=[one, two, three], revision__in=[row.revision for row in rows])
        states = {row.server_id: row.state for row in found.order_by("revision")}
        assert [states[server.pk] for server in (one, two, three)] == ["applied", "failed", "pending"]
    with pytest.raises(TenantScopeError):
        revisions.record_reports(reports)
