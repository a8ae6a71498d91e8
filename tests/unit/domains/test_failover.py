"""Failover of domains: decisions with their evidence, what people do, alerts, and what is refused."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from billing.models import Wallet
from domains import failover
from domains.failover import FailoverData
from domains.failover_models import Failover, FailoverDecision
from domains.services import change_domain
from domains.tasks import look_at_failovers, sweep_failovers
from lumos.errors import Conflict, InvalidInput, LimitReached
from notifications.models import Notification
from servers.models import Server, ServerVerdict, ShieldState
from servers.services import add_server
from tests import factories
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
FIRST, SECOND = "198.51.100.1", "198.51.100.2"


@pytest.fixture
def second(alice: Tenant) -> Server:
    """Give Alice's domain a second server; both have served for an hour."""
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4=FIRST)
        server, _ = add_server(name="second", actor=alice.owner, public_ipv4=SECOND)
        change_domain(domain_id=alice.domain.pk, servers=[alice.server, server], actor=alice.owner)
        for one in (alice.server, server):
            hour_ago = timezone.now() - timedelta(hours=1)
            ServerVerdict.objects.create(server=one, state=ShieldState.UP, since=hour_ago, serves_since=hour_ago)
    return server


def judged(server: Server, state: str, *, minutes: int = 60) -> None:
    serves = timezone.now() - timedelta(minutes=minutes) if state in ("up", "degraded") else None
    ServerVerdict.unscoped.filter(server=server).update(state=state, serves_since=serves, reasons=[f"It is {state}."])


def switched_on(alice: Tenant, **values: Any) -> Failover:
    with alice.scope:
        return failover.put_failover(domain_id=alice.domain.pk, data=FailoverData(**values), actor=alice.owner)


def looked(alice: Tenant) -> Failover:
    with alice.scope:
        failover.look(alice.domain.pk)
        found: Failover = Failover.objects.get()
        return found


def causes() -> list[str]:
    return list(FailoverDecision.unscoped.order_by("created_at").values_list("cause", flat=True))


def told() -> list[tuple[str, str]]:
    rows = Notification.unscoped.filter(kind__startswith="failover").order_by("created_at")
    return list(rows.values_list("kind", "title"))


def test_the_dead_primary_is_replaced_and_comes_back_after_the_hold_down(alice: Tenant, second: Server) -> None:
    assert switched_on(alice).addresses == [FIRST]
    judged(alice.server, "down")
    row = looked(alice)
    assert (row.addresses, row.reason) == ([SECOND], "alice-shield is down.")
    judged(alice.server, "up", minutes=0)
    row = looked(alice)
    assert row.addresses == [SECOND]
    assert row.reason.startswith("alice-shield comes back in 1")
    assert row.due_at is not None
    judged(alice.server, "up", minutes=10)
    Failover.unscoped.update(changed_at=timezone.now() - timedelta(minutes=10), due_at=timezone.now())
    look_at_failovers()
    assert Failover.unscoped.get().addresses == [FIRST]
    assert causes() == ["first", "failed", "returned"]
    assert told() == [
        ("failover_triggered", "alice.example answers with second"),
        ("failover_recovered", "alice.example answers with alice-shield again"),
    ]


def test_a_decision_keeps_its_evidence(alice: Tenant, second: Server) -> None:
    switched_on(alice)
    judged(alice.server, "down")
    looked(alice)
    entry = FailoverDecision.unscoped.get(cause="failed")
    assert (entry.before, entry.answered, entry.addresses) == (["alice-shield"], ["second"], [SECOND])
    assert entry.evidence[str(alice.server.pk)] == {
        "name": "alice-shield", "state": "down", "reasons": ["It is down."],
    }  # fmt: skip


def test_looking_twice_changes_nothing(alice: Tenant, second: Server) -> None:
    switched_on(alice)
    judged(alice.server, "down")
    looked(alice)
    looked(alice)
    sweep_failovers()
    assert causes() == ["first", "failed"]


def test_all_down_keeps_the_last_answer(alice: Tenant, second: Server) -> None:
    switched_on(alice)
    for server in (alice.server, second):
        judged(server, "down")
    assert looked(alice).addresses == [FIRST]


def test_a_person_switches_holds_and_drills(alice: Tenant, second: Server) -> None:
    switched_on(alice)
    with alice.scope:

        def act(action: str, **values: Any) -> list[str]:
            row = failover.act(domain_id=alice.domain.pk, action=action, actor=alice.owner, **values)
            return list(row.addresses)

        assert act("switch", server=second) == [SECOND]
        assert act("switch") == [SECOND]  # the gap after the last change
        Failover.objects.update(changed_at=timezone.now() - timedelta(minutes=10))
        assert act("end-drill") == [FIRST]
        assert act("drill", minutes=5) == [SECOND]
        assert Failover.objects.get().due_at is not None
        assert act("hold") == [SECOND]
        judged(second, "down")
        failover.look(alice.domain.pk)
        assert Failover.objects.get().addresses == [SECOND]
        assert act("release") == [SECOND]  # the drilled one cannot step in
        assert act("end-drill") == [FIRST]
        assert FailoverDecision.objects.filter(cause="drill", actor=alice.owner).count() == 1
        assert AuditEntry.objects.filter(action="domain.failover_acted").count() >= 5
    assert ("failover_triggered", "alice.example answers with second") in told()


def test_a_drill_ends_by_itself(alice: Tenant, second: Server) -> None:
    switched_on(alice, gap_seconds=0)
    with alice.scope:
        failover.act(domain_id=alice.domain.pk, action="drill", actor=alice.owner)
    past = timezone.now() - timedelta(seconds=1)
    Failover.unscoped.update(drill_until=past, due_at=past)
    look_at_failovers()
    assert Failover.unscoped.get().addresses == [FIRST]
    assert causes() == ["first", "drill", "returned"]


@pytest.mark.parametrize("minutes", [0, 61])
def test_a_drill_has_its_bounds(alice: Tenant, second: Server, minutes: int) -> None:
    switched_on(alice)
    with alice.scope, pytest.raises(InvalidInput, match="1 to 60 minutes"):
        failover.act(domain_id=alice.domain.pk, action="drill", actor=alice.owner, minutes=minutes)


def test_what_is_refused(alice: Tenant, second: Server) -> None:
    with alice.scope:
        with pytest.raises(Conflict, match="switch it on first"):
            failover.act(domain_id=alice.domain.pk, action="hold", actor=alice.owner)
        switched_on(alice)
        other, _ = add_server(name="other", actor=alice.owner, public_ipv4="198.51.100.9")
        with pytest.raises(InvalidInput, match="does not carry"):
            failover.act(domain_id=alice.domain.pk, action="switch", actor=alice.owner, server=other)
        change_domain(domain_id=alice.domain.pk, servers=[alice.server], actor=alice.owner)
        with pytest.raises(InvalidInput, match="second server"):
            failover.act(domain_id=alice.domain.pk, action="drill", actor=alice.owner)


def test_a_plan_without_failover_has_none(alice: Tenant, second: Server) -> None:
    Wallet.unscoped.filter(account=alice.account).update(plan=factories.plan("Small", has_failover=False))
    with pytest.raises(LimitReached, match="no failover"):
        switched_on(alice)


def test_switching_it_off_leaves_no_rule(alice: Tenant, second: Server) -> None:
    switched_on(alice)
    with alice.scope:
        failover.remove_failover(domain_id=alice.domain.pk, actor=alice.owner)
        assert failover.look(alice.domain.pk) is None
    assert Failover.unscoped.count() == 0


def test_every_server_that_serves_may_be_answered(alice: Tenant, second: Server) -> None:
    assert switched_on(alice, mode="all").addresses == [FIRST, SECOND]
    judged(second, "down")
    assert looked(alice).addresses == [FIRST]
