"""Upgrades of agents in waves: one first, the others when it does well, none after a failure."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from lumos_agent import protocol
from servers import sessions, upgrades
from servers.install import WHEEL
from servers.models import AgentUpgrade, Server, UpgradeState
from servers.tasks import advance_upgrades
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
VERSION = WHEEL.split("-")[1]


@pytest.fixture(autouse=True)
def fleet(alice: Tenant, settings: Any, tmp_path: Path) -> list[Any]:
    """Thirteen connected shields of alice with an old agent, and a wheel; returns their ids by name."""
    settings.WHEEL_DIR = str(tmp_path)
    (tmp_path / WHEEL).write_bytes(b"a wheel")
    with alice.scope:
        for number in range(12):
            Server.objects.create(name=f"s{number:02}", token_hash=str(number), token_prefix="t")
        seen(Server.objects.values_list("pk", flat=True), "0.0.1")
        return list(Server.objects.order_by("name").values_list("pk", flat=True))


def seen(ids: Iterable[Any], version: str) -> None:
    """Let agents connect a minute ago; the caller opened the scope."""
    now = timezone.now()
    Server.objects.filter(pk__in=list(ids)).update(
        facts={"agent_version": version, "takes_errands": True},
        connected_at=now - timedelta(minutes=1),
        lease_until=now + timedelta(minutes=1),
        apply_state="applied",
    )


def asked(tenant: Tenant) -> list[Any]:
    """Return the ids of the servers that are asked now."""
    with tenant.scope:
        ids = list(Server.objects.order_by("name").values_list("pk", flat=True))
    return [pk for pk in ids if sessions.wanted_errands(tenant.account.pk, [pk])[0] is not None]


def test_one_goes_first_then_ten_at_once_then_the_rest(alice: Tenant, api: Api, fleet: list[Any]) -> None:
    assert api.post("/agent-upgrade").status_code == 202
    assert api.post("/agent-upgrade").status_code == 409
    errand = sessions.wanted_errands(alice.account.pk, [fleet[0]])[0]
    assert errand is not None
    assert (errand.kind, errand.version, len(errand.sha256)) == ("upgrade", VERSION, 64)
    for wave in (fleet[:1], fleet[1:11], fleet[11:]):
        assert asked(alice) == wave
        advance_upgrades()
        assert asked(alice) == wave
        with alice.scope:
            seen(wave[1:], VERSION)
            Server.objects.filter(pk=wave[0]).update(facts={"agent_version": VERSION}, connected_at=timezone.now())
        advance_upgrades()
        with alice.scope:
            assert Server.objects.exclude(upgrade=None).count() == fleet.index(wave[-1]) + 1
            seen(wave, VERSION)
        advance_upgrades()
    found = api.get("/agent-upgrade").json()
    assert (found["others"], found["latest"]["state"], len(found["latest"]["servers"])) == (0, "done", 13)
    assert api.post("/agent-upgrade").status_code == 409


def test_a_failure_stops_it_with_the_shields_own_words(
    alice: Tenant, api: Api, fleet: list[Any], signed_in: Any
) -> None:
    api.post("/agent-upgrade")
    errand = sessions.wanted_errands(alice.account.pk, [fleet[0]])[0]
    assert errand is not None
    failed = protocol.ErrandDone(id=errand.id, is_done=False, message="pip could not install it")
    sessions.answers(alice.account.pk, fleet[0], failed)
    advance_upgrades()
    assert asked(alice) == []
    latest = api.get("/agent-upgrade").json()["latest"]
    assert (latest["state"], "pip could not install it" in latest["reason"]) == ("stopped", True)
    assert "pip could not install it" in signed_in(alice.owner).get("/servers").content.decode()
    assert api.delete("/agent-upgrade").status_code == 409
    assert api.post("/agent-upgrade").status_code == 202
    assert len(asked(alice)) == 1


def test_who_does_not_come_back_stops_it(alice: Tenant, fleet: list[Any]) -> None:
    with alice.scope:
        row = upgrades.start_upgrade(actor=alice.owner)
        Server.objects.filter(upgrade=row).update(errand_asked_at=timezone.now() - upgrades.RETURNS_WITHIN)
        assert upgrades.advance(row.pk) == UpgradeState.STOPPED
        assert "still runs 0.0.1" in AgentUpgrade.objects.get().reason


def test_stopped_by_hand_nobody_is_asked_any_more(alice: Tenant, api: Api, mallory: Tenant) -> None:
    api.post("/agent-upgrade")
    assert Api(mallory.api_key).delete("/agent-upgrade").status_code == 409
    assert len(asked(alice)) == 1
    assert api.delete("/agent-upgrade").json()["state"] == "stopped"
    assert asked(alice) == []


def test_without_a_wheel_or_anybody_to_ask_it_says_so(alice: Tenant, api: Api, settings: Any, tmp_path: Path) -> None:
    with alice.scope:
        Server.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
    assert "No connected server" in api.post("/agent-upgrade").json()["detail"]
    settings.WHEEL_DIR = str(tmp_path / "none")
    assert "make wheel" in api.post("/agent-upgrade").json()["detail"]
