"""Staged changes: the first server first, the others when it does well, nobody when it does not."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from domains import rollouts
from domains.models import Rollout, RolloutState
from lumos_agent import protocol
from lumos_agent.schema import Snapshot
from servers import revisions
from servers.models import HourlyMetric, Server, epoch
from servers.services import add_server
from servers.snapshots import compile_snapshot
from tests.conftest import Api
from tests.factories import Tenant
from waf.lists import add_list_entry

pytestmark = pytest.mark.django_db
OLD, NEW = 8080, 9090


@pytest.fixture
def standby(api: Api, alice: Tenant) -> Server:
    """Make alice's domain staged, on two servers."""
    with alice.scope:
        server, _ = add_server(name="standby", actor=alice.owner)
    answer = api.patch(
        f"/domains/{alice.domain.pk}", {"servers": [str(alice.server.pk), str(server.pk)], "rollout": "staged"}
    )
    assert answer.status_code == 200, answer.content
    return server


def change(api: Api, alice: Tenant, port: int = NEW) -> Any:
    return api.patch(f"/domains/{alice.domain.pk}", {"origins": [{"address": "127.0.0.1", "port": port}]}).json()


def port_on(alice: Tenant, server: Server) -> int:
    with alice.scope:
        compiled = compile_snapshot(server.pk)
        assert compiled is not None
        return Snapshot.decode(compiled.data).domains[0].origins[0].port


def report(alice: Tenant, *, failed: str = "") -> None:
    """Let the first server report its newest revision."""
    with alice.scope:
        row = Server.objects.get(pk=alice.server.pk)
        common: dict[str, Any] = {"epoch": epoch(), "revision": row.revision, "digest": "a" * 64}
        if failed:
            message = protocol.Failed(**common, stage="check", message=failed, rolled_back=True)
            revisions.record_failed(server_id=row.pk, report=message)
        else:
            applied = protocol.Applied(**common, how="reload")
            revisions.record_reports([revisions.Report(row.pk, applied, 1)])


def look(alice: Tenant, *, later: bool = False) -> RolloutState | None:
    with alice.scope:
        if later:
            Rollout.objects.exclude(applied_at=None).update(applied_at=timezone.now() - timedelta(minutes=1))
        return rollouts.advance(rollout_id=Rollout.objects.latest("created_at").pk)


def serve(alice: Tenant, requests: int, errors: int) -> None:
    with alice.scope:
        row, _ = HourlyMetric.objects.get_or_create(
            server=alice.server, domain=alice.domain, hour=timezone.now().replace(minute=0, second=0, microsecond=0)
        )
        HourlyMetric.objects.filter(pk=row.pk).update(
            requests=row.requests + requests, status_5xx=row.status_5xx + errors
        )


def test_others_follow_when_the_first_does_well(api: Api, alice: Tenant, standby: Server) -> None:
    serve(alice, 1000, 10)
    shown = change(api, alice)
    assert (shown["open_rollout"]["state"], shown["open_rollout"]["first"]) == ("observing", str(alice.server.pk))
    assert (port_on(alice, alice.server), port_on(alice, standby)) == (NEW, OLD)
    assert look(alice, later=True) is None, "the first server has not applied it"
    report(alice)
    assert look(alice) is None
    serve(alice, 100, 1)
    assert look(alice) is None, "not observed for long enough"
    assert look(alice, later=True) == RolloutState.DONE
    assert look(alice) is None
    assert (port_on(alice, alice.server), port_on(alice, standby)) == (NEW, NEW)
    assert api.get(f"/domains/{alice.domain.pk}").json()["open_rollout"] is None


def test_failure_on_the_first_stops_it(api: Api, alice: Tenant, standby: Server) -> None:
    change(api, alice)
    report(alice, failed="unknown keyword 'x'")
    assert look(alice) == RolloutState.STOPPED
    assert (port_on(alice, alice.server), port_on(alice, standby)) == (OLD, OLD)
    assert "unknown keyword" in api.get(f"/domains/{alice.domain.pk}").json()["open_rollout"]["reason"]
    # The next change begins anew, from what ran before the first one.
    change(api, alice, 7070)
    assert (port_on(alice, alice.server), port_on(alice, standby)) == (7070, OLD)


def test_rising_errors_stop_it_and_people_can_go_on(api: Api, alice: Tenant, standby: Server) -> None:
    serve(alice, 1000, 10)
    change(api, alice)
    report(alice)
    look(alice)
    serve(alice, 40, 12)
    assert look(alice) == RolloutState.STOPPED
    assert (port_on(alice, alice.server), port_on(alice, standby)) == (OLD, OLD)
    assert api.post(f"/domains/{alice.domain.pk}/release-rollout").status_code == 200
    assert (port_on(alice, alice.server), port_on(alice, standby)) == (NEW, NEW)
    assert api.post(f"/domains/{alice.domain.pk}/release-rollout").status_code == 409


def test_lists_never_wait(api: Api, alice: Tenant, standby: Server) -> None:
    change(api, alice)
    with alice.scope:
        add_list_entry(domain=alice.domain, kind="deny", network="198.51.100.0/24", actor=alice.owner)
        compiled = compile_snapshot(standby.pk)
    assert compiled is not None
    _, deny = Snapshot.decode(compiled.data).networks()[str(alice.domain.pk)]
    assert "198.51.100.0/24" in deny
    assert port_on(alice, standby) == OLD


def test_domain_that_is_not_staged_changes_everywhere(api: Api, alice: Tenant, standby: Server) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"rollout": "all"})
    assert change(api, alice)["open_rollout"] is None
    assert port_on(alice, standby) == NEW


@pytest.mark.parametrize(
    ("requests", "errors", "before", "stops"),
    [(19, 19, (0, 0), False), (20, 1, (0, 0), False), (20, 2, (0, 0), True), (100, 15, (100, 10), False),
     (100, 21, (100, 10), True), (1000, 50, (0, 0), False), (1000, 51, (0, 0), True)],
)  # fmt: skip
def test_verdict(requests: int, errors: int, before: tuple[int, int], *, stops: bool) -> None:
    assert bool(rollouts.verdict(requests, errors, before)) is stops
