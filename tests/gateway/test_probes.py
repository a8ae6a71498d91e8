"""Shields as vantage points: who is told to probe whom, what their results lead to, and what they have no say about."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async

from lumos_agent import protocol
from servers.models import Server, ServerVerdict, Sight, VerdictChange
from servers.services import add_server, change_server
from tests.factories import Tenant
from tests.gateway.test_agents import Agent, hello, stop_tasks

pytestmark = pytest.mark.django_db(transaction=True)
HERE, THERE, ELSEWHERE = "198.51.100.1", "198.51.100.2", "203.0.113.9"


def greeting(probe_port: int = 80) -> protocol.Hello:
    return msgspec.structs.replace(hello(), facts=protocol.Facts(agent_version="t", probe_port=probe_port))


async def connected(agent: Agent, probe_port: int = 80) -> None:
    await agent.connect(timeout=20)
    await agent.say(greeting(probe_port))
    await agent.hear(protocol.Welcome)
    await agent.hear(protocol.Config)


def addressed(tenant: Tenant, address: str) -> None:
    with tenant.scope:
        change_server(server=tenant.server, actor=tenant.owner, public_ipv4=address)


def with_neighbour(tenant: Tenant) -> str:
    with tenant.scope:
        return add_server(name="neighbour", actor=tenant.owner, public_ipv4=THERE)[1]


@pytest.fixture
async def agents(alice: Tenant, mallory: Tenant) -> AsyncIterator[tuple[Agent, Agent, Agent]]:
    """Alice's two shields and Mallory's one, with addresses, connected."""
    await sync_to_async(addressed)(alice, HERE)
    await sync_to_async(addressed)(mallory, ELSEWHERE)
    made = Agent(alice.token), Agent(await sync_to_async(with_neighbour)(alice)), Agent(mallory.token)
    for agent in made:
        await connected(agent)
    yield made
    for agent in made:
        await agent.disconnect(timeout=20)
    await stop_tasks()


async def peers(agent: Agent, count: int) -> protocol.Peers:
    """Return the newest message about peers, which names `count`."""
    while True:
        found: protocol.Peers = await agent.hear(protocol.Peers)
        if len(found.peers) == count:
            return found


async def tell(agent: Agent, tenant: Tenant, **seen: bool) -> None:
    """Report of the shields of an account, and return when that is stored."""

    def results() -> tuple[protocol.ProbeResult, ...]:
        with tenant.scope:
            servers = {server.name: server for server in Server.objects.all()}
            return tuple(
                protocol.ProbeResult(
                    server_id=str(servers[name].pk), address=servers[name].public_ipv4, is_ok=ok, reason="\0refused"
                )
                for name, ok in seen.items()
            )

    await agent.say(protocol.Probes(results=await sync_to_async(results)()))
    await agent.say(protocol.Heartbeat(clock=0, haproxy_running=True))
    while True:
        try:
            await agent.hear(protocol.HeartbeatAck)
        except AssertionError:
            continue
        return


def states(tenant: Tenant) -> dict[str, str]:
    with tenant.scope:
        return dict(ServerVerdict.objects.values_list("server__name", "state"))


async def test_shields_learn_of_each_other_and_of_nobody_else(agents: tuple[Agent, ...]) -> None:
    first, neighbour, foreign = agents
    one, other = await peers(first, 1), await peers(neighbour, 1)
    assert one.peers[0].addresses == (THERE,)
    assert other.peers[0].addresses == (HERE,)
    assert (one.peers[0].key, other.peers[0].key) == (other.key, one.key)
    assert len({one.key, other.key, ""}) == 3
    assert (await peers(foreign, 0)).key not in {one.key, other.key}


async def test_a_new_address_is_told_to_the_neighbours(agents: tuple[Agent, ...], alice: Tenant) -> None:
    neighbour = agents[1]
    await peers(neighbour, 1)
    await sync_to_async(addressed)(alice, "198.51.100.77")
    while (await peers(neighbour, 1)).peers[0].addresses != ("198.51.100.77",):
        pass


async def test_an_agent_that_knows_no_probes_hears_nothing_of_them(mallory: Tenant) -> None:
    agent = Agent(mallory.token)
    await connected(agent, probe_port=0)
    assert await agent.receive_nothing(timeout=0.2)
    await agent.disconnect(timeout=20)
    await stop_tasks()


async def test_a_result_is_a_verdict_with_reasons_and_history(agents: tuple[Agent, ...], alice: Tenant) -> None:
    first, _, _ = agents
    await tell(first, alice, neighbour=True)
    assert (await sync_to_async(states)(alice))["neighbour"] == "up"
    await tell(first, alice, neighbour=False)
    assert (await sync_to_async(states)(alice))["neighbour"] == "down"

    def kept() -> tuple[Any, list[str]]:
        with alice.scope:
            row = ServerVerdict.objects.get(server__name="neighbour")
            changes = VerdictChange.objects.filter(server__name="neighbour").order_by("created_at")
            return row, [change.state for change in changes]

    row, changes = await sync_to_async(kept)()
    assert row.reasons[0] == f"{THERE} does not answer 1 of 1 vantage point: refused."
    assert (row.serves_since, row.down_addresses) == (None, [THERE])
    assert changes == ["up", "down"]


async def test_nobody_has_a_say_about_itself_or_other_accounts(
    agents: tuple[Agent, ...], alice: Tenant, mallory: Tenant
) -> None:
    _, neighbour, foreign = agents
    await tell(neighbour, alice, neighbour=False)
    await tell(foreign, alice, neighbour=False)
    assert await sync_to_async(states)(alice) == {}
    assert await sync_to_async(Sight.unscoped.count)() == 0
