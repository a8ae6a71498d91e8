"""The control plane as a vantage point and as a judge: whom it believes, and when it doubts itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from lumos_agent import probes
from lumos_agent.probes import Seen
from lumos_agent.verdict import FALL, RISE
from servers import health, probing
from servers.models import GatewayPresence, ProbeRound, Server, ServerVerdict, Sight, VerdictChange
from servers.services import add_server
from servers.tasks import look_at_servers, probe_servers
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
HERE, THERE = "198.51.100.1", "198.51.100.2"


@pytest.fixture(autouse=True)
def shields(alice: Tenant, mallory: Tenant, settings: Any) -> None:
    """Alice has two shields, Mallory one, all connected; the gateway has been there for long."""
    settings.PROBE_PRIVATE_ADDRESSES = True
    with alice.scope:
        add_server(name="second", actor=alice.owner, public_ipv4=THERE)
    now = timezone.now()
    Server.unscoped.filter(pk=alice.server.pk).update(public_ipv4=HERE)
    Server.unscoped.filter(pk=mallory.server.pk).update(public_ipv4="203.0.113.9")
    Server.unscoped.update(
        connected_at=now, last_seen_at=now, lease_until=now + timedelta(hours=1), facts={"probe_port": 80}
    )
    GatewayPresence.objects.create(pk=1, since=now - timedelta(hours=1), seen_at=now)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Addresses that do not answer; the probes themselves are tested in tests/agent/test_probes.py."""
    dead: set[str] = set()

    async def answer(target: probes.Target) -> Seen | None:
        return Seen(is_ok=target.address not in dead, reason="refused" if target.address in dead else "")

    monkeypatch.setattr(probing, "probe", answer)
    return dead


def state(name: str) -> str:
    return str(ServerVerdict.unscoped.get(server__name=name).state)


def silent(name: str, seconds: int = 300) -> None:
    then = timezone.now() - timedelta(seconds=seconds)
    Server.unscoped.filter(name=name).update(last_seen_at=then, lease_until=then)


def test_rounds_settle_by_rise_and_fall(network: set[str]) -> None:
    probe_servers()
    assert (state("alice-shield"), state("second"), state("mallory-shield")) == ("up", "up", "up")
    network.add(THERE)
    for _ in range(FALL - 1):
        probe_servers()
        assert state("second") == "up"
    probe_servers()
    assert (state("second"), state("alice-shield")) == ("down", "up")
    network.clear()
    for _ in range(RISE):
        probe_servers()
    assert state("second") == "up"
    changes = VerdictChange.unscoped.filter(server__name="second").order_by("created_at")
    assert list(changes.values_list("state", flat=True)) == ["up", "down", "up"]


def test_a_quiet_round_writes_one_row(network: set[str], django_assert_num_queries: Any) -> None:
    probe_servers()
    with django_assert_num_queries(7):  # servers, keys, the round (4 with its savepoint), sights
        probing.probe_round()


def test_a_lumos_that_reaches_nobody_accuses_nobody(network: set[str]) -> None:
    probe_servers()
    network |= {HERE, THERE, "203.0.113.9"}
    for name in ("alice-shield", "second", "mallory-shield"):
        silent(name)
    for _ in range(FALL):
        probe_servers()
    look_at_servers()
    assert {state("alice-shield"), state("second"), state("mallory-shield")} == {"unknown"}


def test_an_agent_that_stopped_is_no_dead_shield(network: set[str]) -> None:
    probe_servers()
    silent("second")
    look_at_servers()
    assert state("second") == "degraded"


def test_while_the_gateway_is_away_silence_says_nothing(network: set[str]) -> None:
    probe_servers()
    silent("second")
    GatewayPresence.objects.update(seen_at=timezone.now() - timedelta(minutes=10))
    look_at_servers()
    assert state("second") == "up"


def test_old_rounds_are_no_evidence(network: set[str], alice: Tenant) -> None:
    network.add(THERE)
    for _ in range(FALL):
        probe_servers()
    assert state("second") == "down"
    ProbeRound.objects.update(at=timezone.now() - timedelta(minutes=5))
    look_at_servers()
    assert state("second") == "up"  # by its agent's word


def test_a_vantage_point_that_is_gone_is_not_heard(network: set[str], alice: Tenant) -> None:
    probe_servers()
    with alice.scope:
        second = Server.objects.get(name="second")
        Sight.objects.create(
            server=second, vantage=alice.server, address=THERE, is_ok=False, since=timezone.now(), reason="refused"
        )
        health.look([second.pk])
        assert state("second") == "degraded"
        silent("alice-shield")
        health.look([second.pk])
        assert state("second") == "up"


def test_addresses_of_this_network_are_not_probed(network: set[str], settings: Any) -> None:
    settings.PROBE_PRIVATE_ADDRESSES = False
    Server.unscoped.filter(name="second").update(public_ipv4="127.0.0.1")
    Server.unscoped.filter(name="alice-shield").update(public_ipv4="93.184.215.14")
    probe_servers()
    assert set(Sight.unscoped.values_list("address", flat=True)) == {"93.184.215.14"}


def test_looking_twice_changes_nothing(network: set[str], alice: Tenant) -> None:
    probe_servers()
    before = list(ServerVerdict.unscoped.order_by("pk").values())
    with alice.scope:
        assert health.look(Server.objects.values_list("pk", flat=True)) == []
    assert list(ServerVerdict.unscoped.order_by("pk").values()) == before
