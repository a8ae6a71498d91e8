"""What shields say of certificates, and challenges that travel between the shields of one domain."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from domains.models import Certificate, Challenge
from domains.services import change_domain
from lumos_agent import protocol
from servers.services import add_server
from tests.factories import Tenant
from tests.gateway.test_agents import Agent, stop_tasks

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN, AUTHORIZATION = "tok-en_1", "tok-en_1.thumb"


def with_standby(tenant: Tenant) -> str:
    """Give the tenant's domain a second server; returns its token."""
    with tenant.scope:
        server, token = add_server(name="standby", actor=tenant.owner)
        change_domain(domain_id=tenant.domain.pk, servers=[tenant.server, server], actor=tenant.owner)
        return token


@pytest.fixture
async def agents(alice: Tenant, mallory: Tenant) -> AsyncIterator[tuple[Agent, Agent, Agent]]:
    """Alice's two shields and Mallory's one, connected and configured."""
    standby = await sync_to_async(with_standby)(alice)
    made = Agent(alice.token), Agent(standby), Agent(mallory.token)
    for agent in made:
        await agent.greet()
        await agent.applied(await agent.hear(protocol.Config))
    yield made
    for agent in made:
        await agent.disconnect(timeout=20)
    await stop_tasks()


def rows(tenant: Tenant, model: Any) -> list[Any]:
    with tenant.scope:
        return list(model.objects.all())


def stated(**status: Any) -> protocol.Certificates:
    return protocol.Certificates(statuses=(protocol.CertificateStatus(**status),))


def published(tenant: Tenant) -> protocol.ChallengePublish:
    return protocol.ChallengePublish(domain_id=str(tenant.domain.pk), token=TOKEN, key_authorization=AUTHORIZATION)


async def test_challenge_reaches_the_domains_other_shields(agents: tuple[Agent, ...], alice: Tenant) -> None:
    first, standby, foreign = agents
    await first.say(published(alice))
    assert await first.hear(protocol.ChallengeReady) == protocol.ChallengeReady(token=TOKEN, waiting=1)
    assert await standby.hear(protocol.Challenges) == protocol.Challenges(entries={TOKEN: AUTHORIZATION})
    await standby.say(protocol.ChallengesHeld(tokens=(TOKEN, "unknown")))
    assert await first.hear(protocol.ChallengeReady) == protocol.ChallengeReady(token=TOKEN, waiting=0)
    await first.say(protocol.ChallengesWithdrawn(tokens=(TOKEN,)))
    assert await standby.hear(protocol.Challenges) == protocol.Challenges(entries={})
    assert await foreign.receive_nothing(timeout=0.3)


async def test_shield_speaks_only_of_domains_that_it_carries(
    agents: tuple[Agent, ...], alice: Tenant, mallory: Tenant
) -> None:
    first, _, foreign = agents
    await foreign.say(published(alice))
    assert await foreign.hear(protocol.ChallengeReady) == protocol.ChallengeReady(token=TOKEN, waiting=0)
    await foreign.say(stated(domain_id=str(alice.domain.pk), state="active", not_after=2e9))
    await foreign.say(protocol.ChallengesHeld(tokens=(TOKEN,)))
    assert await first.receive_nothing(timeout=0.3)
    for tenant in (alice, mallory):
        assert await sync_to_async(rows)(tenant, Certificate) == []
        assert await sync_to_async(rows)(tenant, Challenge) == []


async def test_status_is_kept_per_server(agents: tuple[Agent, ...], alice: Tenant) -> None:
    first, standby, _ = agents
    domain_id = str(alice.domain.pk)
    await first.say(stated(domain_id=domain_id, state="provisioning"))
    await first.say(stated(domain_id=domain_id, state="active", not_after=2e9))
    await standby.say(stated(domain_id=domain_id, state="failed", reason="DNS has \0no address"))
    for agent in (first, standby):
        await agent.say(protocol.Heartbeat(clock=0, haproxy_running=True))
        await agent.hear(protocol.HeartbeatAck)
    kept = {row.server_id: (row.status, row.reason) for row in await sync_to_async(rows)(alice, Certificate)}
    assert kept.pop(alice.server.pk) == ("active", "")
    assert list(kept.values()) == [("failed", "DNS has no address")]
