"""When going and coming is told: a table of histories, and the sweep over real leases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from notifications import tasks
from notifications.flapping import State, Told, step
from notifications.models import MaintenanceWindow, Notification, Watch
from notifications.watching import GRACE, RETURN
from servers.gateway import renew_leases
from servers.models import GatewayPresence, Server, ServerVerdict
from tests.factories import Tenant

START = datetime(2026, 1, 1, tzinfo=UTC)
DOWN, UP = True, False
# (seconds since the start, what is seen) -> what is told at those seconds
HISTORIES: list[tuple[str, list[tuple[int, bool]], dict[int, Told]]] = [
    ("stays up", [(0, UP), (60, UP)], {}),
    ("goes", [(0, DOWN), (15, DOWN), (3600, DOWN)], {0: Told.DOWN}),
    ("goes and comes", [(0, DOWN), (300, UP), (315, UP), (330, UP), (345, UP)], {0: Told.DOWN, 330: Told.RECOVERED}),
    ("comes for a moment", [(0, DOWN), (300, UP), (315, DOWN), (400, DOWN)], {0: Told.DOWN}),
    (
        "goes and comes again and again, then stays up",
        [(minute * 60, minute % 4 < 2) for minute in range(40)] + [(minute * 60, UP) for minute in range(40, 90, 5)],
        {0: Told.DOWN, 180: Told.RECOVERED, 240: Told.DOWN, 420: Told.RECOVERED, 480: Told.DOWN, 600: Told.FLAPPING, 4200: Told.RECOVERED},
    ),
    (
        "goes and comes again and again, then stays down",
        [(minute * 60, minute % 4 < 2) for minute in range(41)] + [(minute * 60, DOWN) for minute in range(45, 90, 5)],
        {0: Told.DOWN, 180: Told.RECOVERED, 240: Told.DOWN, 420: Told.RECOVERED, 480: Told.DOWN, 600: Told.FLAPPING, 4200: Told.DOWN},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "seen", "told"), HISTORIES, ids=[name for name, *_ in HISTORIES])
def test_histories(name: str, seen: list[tuple[int, bool]], told: dict[int, Told]) -> None:
    state, found = State(is_down=False, since=START), {}
    for seconds, is_down in seen:
        state, said = step(state, is_down=is_down, now=START + timedelta(seconds=seconds))
        if said is not None:
            found[seconds] = said
    assert found == told


def test_calm_is_forgotten() -> None:
    state, _ = step(State(is_down=False, since=START), is_down=True, now=START)
    assert not state.is_forgettable
    for minutes in (5, 6, 70):
        state, _ = step(state, is_down=False, now=START + timedelta(minutes=minutes))
    assert state.is_forgettable


def heard(tenant: Tenant, ago: timedelta) -> None:
    """Say when a tenant's shield was heard last."""
    at = timezone.now() - ago
    Server.unscoped.filter(pk=tenant.server.pk).update(
        connected_at=at, last_seen_at=at, lease_until=at + timedelta(seconds=45)
    )


def told() -> list[str]:
    tasks.watch_servers()
    tasks.watch_servers()
    return list(Notification.unscoped.order_by("created_at").values_list("kind", flat=True))


@pytest.mark.django_db
def test_sweep_tells_of_servers_that_went_and_came(alice: Tenant, mallory: Tenant) -> None:
    heard(mallory, timedelta(seconds=100))
    assert told() == []
    heard(alice, timedelta(minutes=3))
    assert told() == ["server_down"]
    row = Notification.unscoped.get()
    assert (row.account_id, row.server_id, row.title) == (
        alice.account.pk,
        alice.server.pk,
        "alice-shield is down",
    )
    heard(alice, timedelta(0))
    assert told() == ["server_down"]
    Watch.unscoped.update(since=timezone.now() - timedelta(minutes=1))
    assert told() == ["server_down", "server_recovered"]
    Watch.unscoped.update(flips=[])
    told()
    assert not Watch.unscoped.exists()


@pytest.mark.django_db
def test_server_that_never_connected_is_not_down(alice: Tenant) -> None:
    assert told() == []


@pytest.mark.django_db
def test_maintenance_puts_the_verdict_off(alice: Tenant) -> None:
    now = timezone.now()
    with alice.scope:
        window = MaintenanceWindow(server=alice.server, starts_at=now - GRACE, ends_at=now + GRACE)
        window.save()
    heard(alice, timedelta(minutes=3))
    assert told() == []
    MaintenanceWindow.unscoped.update(ends_at=now)
    assert told() == ["server_down"]


@pytest.mark.django_db
def test_nobody_is_down_because_lumos_was_away(alice: Tenant) -> None:
    renew_leases([])
    presence = GatewayPresence.objects.get()
    heard(alice, timedelta(minutes=5))
    assert told() == []  # the gateway has just come
    since: Any = presence.since - RETURN
    GatewayPresence.objects.update(since=since, seen_at=timezone.now() - timedelta(minutes=1))
    assert told() == []  # the gateway is away
    renew_leases([])
    assert told() == []  # and comes again
    GatewayPresence.objects.update(since=since)
    renew_leases([])
    assert told() == ["server_down"]


@pytest.mark.django_db
def test_a_shield_that_nobody_reaches_is_down_though_its_agent_talks(alice: Tenant) -> None:
    heard(alice, timedelta(0))
    with alice.scope:
        row = ServerVerdict.objects.create(
            server=alice.server, state="down", since=timezone.now(), reasons=["192.0.2.1 does not answer."]
        )
    tasks.watch_servers()
    (told,) = Notification.unscoped.filter(kind="server_down")
    assert (told.title, "192.0.2.1 does not answer." in told.text) == ("alice-shield is down", True)
    ServerVerdict.unscoped.filter(pk=row.pk).update(state="up")
    tasks.watch_servers()
    Watch.unscoped.update(since=timezone.now() - timedelta(minutes=1))
    tasks.watch_servers()
    assert Notification.unscoped.filter(kind="server_recovered").count() == 1


@pytest.mark.django_db
def test_a_silent_agent_whose_shield_answers_is_told_as_that(alice: Tenant) -> None:
    heard(alice, timedelta(minutes=10))
    with alice.scope:
        ServerVerdict.objects.create(
            server=alice.server, state="degraded", since=timezone.now(), reasons=["Its agent."]
        )
    tasks.watch_servers()
    assert Notification.unscoped.get(kind="server_down").title == "The agent of alice-shield is silent"
