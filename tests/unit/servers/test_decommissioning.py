"""The end of a shield: out of everything at once, given back by its agent, gone within the hour in any case."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from domains.models import Domain
from domains.services import change_domain
from lumos.errors import Conflict
from lumos_agent import protocol
from notifications import watching
from servers import decommissioning, services, sessions, steps
from servers.models import Server
from servers.tasks import finish_decommissions
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def standby(alice: Tenant) -> Server:
    """A second shield that carries nothing; both take errands."""
    with alice.scope:
        made = services.add_server(name="standby", actor=alice.owner)[0]
        Server.objects.update(facts={"takes_errands": True}, connected_at=timezone.now())
    return made


def decommission(tenant: Tenant, server: Server, **more: Any) -> Server:
    with tenant.scope:
        return decommissioning.decommission_server(server=server, actor=tenant.owner, **more)


def test_who_carries_a_domain_alone_stays_unless_forced(
    alice: Tenant, standby: Server, api: Api, signed_in: Any
) -> None:
    path = f"/servers/{alice.server.pk}/decommission"
    refused = api.post(path)
    assert refused.status_code == 409
    assert "Only this server carries alice.example" in refused.json()["detail"]
    page = signed_in(alice.owner)
    assert "alice.example: they go offline" in page.get(f"/servers/{alice.server.pk}").content.decode()
    found = api.post(path, {"force": True})
    assert (found.status_code, found.json()["status"]) == (202, "decommissioning")
    assert "No server carries this domain" in page.get(f"/domains/{alice.domain.pk}").content.decode()
    assert "being decommissioned" in page.get(f"/servers/{alice.server.pk}").content.decode()


def test_domains_leave_at_once_and_nothing_new_comes(alice: Tenant, standby: Server) -> None:
    with alice.scope:
        change_domain(domain_id=alice.domain.pk, actor=alice.owner, servers=[alice.server, standby])
    decommission(alice, alice.server)
    with alice.scope:
        assert list(Domain.objects.get().servers.all()) == [standby]
        with pytest.raises(Conflict, match="being decommissioned"):
            change_domain(domain_id=alice.domain.pk, actor=alice.owner, servers=[standby, alice.server])
        Server.objects.filter(pk=alice.server.pk).update(lease_until=timezone.now() - timedelta(hours=1))
    assert steps.next_steps(alice.account.pk, [steps.Asked(alice.server.pk, -1, "")]) == [None]
    assert watching.accounts_to_look_at() == set()


def test_the_row_goes_when_root_says_so_and_only_then(alice: Tenant, standby: Server) -> None:
    decommission(alice, standby)
    errand = sessions.wanted_errands(alice.account.pk, [standby.pk])[0]
    assert errand is not None
    stale = protocol.ErrandDone(id=str(uuid.uuid4()), is_done=True)
    failed = protocol.ErrandDone(id=errand.id, is_done=False, message="could not take back: \0 userdel failed")
    for done in (stale, failed):
        sessions.answers(alice.account.pk, standby.pk, done)
    with alice.scope:
        assert "userdel failed" in Server.objects.get(pk=standby.pk).errand_error
    assert sessions.wanted_errands(alice.account.pk, [standby.pk])[0] is None
    decommission(alice, standby)
    again = sessions.wanted_errands(alice.account.pk, [standby.pk])[0]
    assert again is not None
    assert (again.kind, again.id != errand.id) == ("uninstall", True)
    sessions.answers(alice.account.pk, standby.pk, protocol.ErrandDone(id=again.id, is_done=True))
    with alice.scope:
        assert list(Server.objects.all()) == [alice.server]


def test_an_agent_that_never_answers_is_forgotten_within_the_hour(alice: Tenant, standby: Server) -> None:
    decommission(alice, standby)
    assert finish_decommissions() == {"asked": 1, "finished": 0}
    with alice.scope:
        Server.objects.filter(pk=standby.pk).update(decommissioned_at=timezone.now() - timedelta(minutes=55))
    assert finish_decommissions() == {"asked": 0, "finished": 1}
    assert finish_decommissions() == {"asked": 0, "finished": 0}
