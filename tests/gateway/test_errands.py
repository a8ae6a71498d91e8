"""What root is asked to do on a shield, and what it says: over the WebSocket and by polls."""

import msgspec
import pytest
from asgiref.sync import sync_to_async

from lumos_agent import protocol
from servers.decommissioning import decommission_server
from servers.models import Server
from tests.factories import Tenant
from tests.gateway.test_agents import Agent, hello
from tests.gateway.test_agents import agent as agent
from tests.gateway.test_polls import post

pytestmark = pytest.mark.django_db(transaction=True)
READY = msgspec.structs.replace(hello(), facts=protocol.Facts(takes_errands=True, clock=1.0))


def decommission(tenant: Tenant) -> None:
    with tenant.scope:
        decommission_server(server=Server.objects.get(), actor=tenant.owner, force=True)


def left() -> int:
    return int(Server.unscoped.count())


async def test_a_connected_agent_is_asked_at_once_and_its_row_goes(agent: Agent, alice: Tenant) -> None:
    await agent.connect(timeout=20)
    await agent.say(READY)
    await agent.hear(protocol.Welcome)
    await agent.hear(protocol.Config)
    await sync_to_async(decommission)(alice)
    errand = await agent.hear(protocol.Errand)
    assert errand.kind == "uninstall"
    assert (
        await post("lmst_wrong", protocol.encode([protocol.ErrandDone(id=errand.id, is_done=True)]))
    ).status_code == 401
    answer = await post(alice.token, protocol.encode([protocol.ErrandDone(id=errand.id, is_done=True)]))
    assert (answer.status_code, answer.content) == (200, b"[]")
    assert await sync_to_async(left)() == 0
    closed = await agent.receive_output(timeout=20)
    assert closed["type"] == "websocket.close"


async def test_an_agent_that_polls_is_asked_with_each_poll_until_it_has_gone(alice: Tenant) -> None:
    await sync_to_async(decommission)(alice)
    poll = [protocol.Poll(interval_seconds=30), READY]
    for _ in range(2):
        answer = await post(alice.token, protocol.encode(poll))
        _, *others = protocol.poll_answer_decoder.decode(answer.content)
        assert [type(message) for message in others if not isinstance(message, protocol.Challenges)] == [
            protocol.Errand
        ]
