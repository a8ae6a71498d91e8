"""What shields say of origins: kept per server, of own origins only, shown on the page and in the API."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from domains.models import OriginHealth
from domains.services import change_domain
from lumos_agent import protocol
from tests.agent.builders import ident
from tests.conftest import Api
from tests.factories import Tenant
from tests.gateway.test_agents import Agent, stop_tasks
from tests.gateway.test_certificates import with_standby

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def agents(alice: Tenant, mallory: Tenant) -> AsyncIterator[tuple[Agent, Agent, Agent]]:
    """Alice's two shields and Mallory's one, connected."""
    standby = await sync_to_async(with_standby)(alice)
    made = Agent(alice.token), Agent(standby), Agent(mallory.token)
    for agent in made:
        await agent.greet()
        await agent.hear(protocol.Config)
    yield made
    for agent in made:
        await agent.disconnect(timeout=20)
    await stop_tasks()


def origin_id(tenant: Tenant) -> str:
    with tenant.scope:
        return str(tenant.domain.origins.get().pk)


async def tell(agent: Agent, *states: protocol.OriginState) -> None:
    """Report, and return when it is stored."""
    await agent.say(protocol.Origins(states=states))
    await agent.say(protocol.Heartbeat(clock=0, haproxy_running=True))
    await agent.hear(protocol.HeartbeatAck)


def state(pk: str, word: Any, reason: str = "", since: float = 1_795_240_800.0) -> protocol.OriginState:
    return protocol.OriginState(origin_id=pk, state=word, reason=reason, since=since)


def kept(tenant: Tenant) -> list[tuple[str, str, str]]:
    with tenant.scope:
        return list(OriginHealth.objects.order_by("server__name").values_list("server__name", "state", "reason"))


def seen(tenant: Tenant, signed_in: Any) -> tuple[list[str], str]:
    """Return what the API and the page say."""
    (origin,) = Api(tenant.api_key).get(f"/domains/{tenant.domain.pk}").json()["origins"]
    page = signed_in(tenant.owner).get(f"/domains/{tenant.domain.pk}").content.decode()
    return [f"{health['state']} {health['reason']}".strip() for health in origin["health"]], page


async def test_newest_state_is_kept_per_server(agents: tuple[Agent, ...], alice: Tenant, signed_in: Any) -> None:
    first, standby, _ = agents
    pk = await sync_to_async(origin_id)(alice)
    await tell(first, state(pk, "up"))
    await tell(standby, state(pk, "unchecked"))
    await tell(first, state(pk, "up"), state(pk, "down", "refused\0 " + "x" * 2000))
    rows = await sync_to_async(kept)(alice)
    assert [(name, word) for name, word, _ in rows] == [("alice-shield", "down"), ("standby", "unchecked")]
    assert rows[0][2].startswith("refused x")
    assert len(rows[0][2]) == 300
    health, page = await sync_to_async(seen)(alice, signed_in)
    assert [words.split()[0] for words in health] == ["down", "unchecked"]
    assert "alice-shield: down" in page
    assert "refused x" in page
    assert "standby: not checked" in page


async def test_states_of_foreign_and_unknown_origins_are_ignored(
    agents: tuple[Agent, ...], alice: Tenant, mallory: Tenant
) -> None:
    first, _, foreign = agents
    ours, theirs = await sync_to_async(origin_id)(alice), await sync_to_async(origin_id)(mallory)
    await tell(foreign, state(ours, "down"), state(ident(7), "down"))
    await tell(first, state(theirs, "down"), state(ident(7), "down"))
    assert await sync_to_async(kept)(alice) == await sync_to_async(kept)(mallory) == []
    await tell(foreign, state(ours, "down"), state(theirs, "up"))
    assert await sync_to_async(kept)(alice) == []
    assert await sync_to_async(kept)(mallory) == [("mallory-shield", "up", "")]


async def test_server_that_left_the_domain_has_no_say(agents: tuple[Agent, ...], alice: Tenant, signed_in: Any) -> None:
    first, standby, _ = agents
    pk = await sync_to_async(origin_id)(alice)
    await tell(first, state(pk, "up"))
    await tell(standby, state(pk, "down"))

    def leave() -> None:
        with alice.scope:
            change_domain(domain_id=alice.domain.pk, servers=[alice.server], actor=alice.owner)

    await sync_to_async(leave)()
    health, page = await sync_to_async(seen)(alice, signed_in)
    assert (health, "standby: down" in page) == (["up"], False)
    await standby.hear(protocol.Config)
    await tell(standby, state(pk, "maintenance"))
    assert ("standby", "down", "") in await sync_to_async(kept)(alice)


@pytest.mark.parametrize("since", [-1, 1e12])
async def test_time_out_of_range_ends_the_connection(agents: tuple[Agent, ...], since: float) -> None:
    await agents[0].say(protocol.Origins(states=(state(ident(1), "up", since=since),)))
    assert (await agents[0].receive_output(timeout=20))["code"] == protocol.CLOSE_PROTOCOL
