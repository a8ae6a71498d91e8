"""What shields say of tunnels reaches the rows of their own account, through a connection and a poll alike."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from lumos_agent import protocol
from servers.tunnel_models import TunnelShield, TunnelState
from servers.tunnels import add_tunnel, put_public_key
from tests.factories import Tenant
from tests.gateway.test_agents import Agent, stop_tasks

pytestmark = pytest.mark.django_db(transaction=True)
OWN, SHIELDS = "A" * 43 + "=", "E" * 43 + "="


def with_tunnel(tenant: Tenant) -> str:
    with tenant.scope:
        tunnel, _ = add_tunnel(name="web", actor=tenant.owner)
        return str(put_public_key(tunnel=tunnel, public_key=OWN, actor=tenant.owner).pk)


def kept(tenant: Tenant) -> tuple[list[Any], list[Any]]:
    with tenant.scope:
        states = TunnelState.objects.values_list("tunnel__name", "received_bytes")
        return list(TunnelShield.objects.values_list("public_key", flat=True)), list(states)


async def test_a_shield_reports_its_key_and_its_own_accounts_tunnels(alice: Tenant, mallory: Tenant) -> None:
    tunnel_id = await sync_to_async(with_tunnel)(alice)
    await sync_to_async(with_tunnel)(mallory)
    agents = Agent(alice.token), Agent(mallory.token)
    state = protocol.TunnelState(tunnel_id=tunnel_id, number=1, public_key=OWN, handshake_at=1.0, received_bytes=7)
    report = protocol.TunnelReport(keys=(protocol.TunnelKey(number=1, public_key=SHIELDS),), states=(state,))
    for agent in agents:
        await agent.greet()
        config = await agent.hear(protocol.Config)
        assert b'"name":"web"' in bytes(config.snapshot)
        await agent.say(report)
        await agent.say(protocol.Heartbeat(clock=0, haproxy_running=True))
        await agent.hear(protocol.HeartbeatAck)
    assert await sync_to_async(kept)(alice) == ([SHIELDS], [("web", 7)])
    assert await sync_to_async(kept)(mallory) == ([SHIELDS], [])
    for agent in agents:
        await agent.disconnect(timeout=20)
    await stop_tasks()
