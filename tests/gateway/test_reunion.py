"""A database that was restored from an older backup meets shields that run newer configurations."""

import asyncio
import secrets
import zlib
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from domains.models import Origin
from lumos.errors import Conflict
from lumos_agent import protocol
from lumos_agent.schema import Snapshot, digest_of
from notifications.models import Notification
from servers import reunion, revisions
from servers.diff import pairs
from servers.models import ApplyState, Epoch, Server, SnapshotRecord
from servers.snapshots import compile_snapshot
from tests.factories import Tenant
from tests.gateway.test_agents import Agent, agent, until

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["agent"]  # a fixture


def lose_newest_change(tenant: Tenant) -> None:
    """Make the rows older than what the shield runs, as a restored backup does."""
    with tenant.scope:
        SnapshotRecord.objects.all().delete()
        Origin.objects.update(port=4711)
        Epoch.objects.create(value=secrets.token_hex(16))


async def in_step(agent: Agent, tenant: Tenant) -> protocol.Config:
    """Return what the agent runs after its first connection."""
    await agent.greet()
    config: protocol.Config = await agent.hear(protocol.Config)
    await agent.applied(config)
    await until(tenant, lambda server: server.apply_state == ApplyState.APPLIED)
    return config


def running(config: protocol.Config, **changes: Any) -> protocol.RunningSnapshot:
    content = b64encode(zlib.compress(bytes(config.snapshot))).decode()
    told = protocol.RunningSnapshot(epoch=config.epoch, revision=config.revision, digest=config.digest, content=content)
    return msgspec.structs.replace(told, **changes)


async def parted(agent: Agent, tenant: Tenant) -> tuple[Agent, protocol.Config]:
    """Return a connected agent that runs what the database lost, and what that is."""
    config = await in_step(agent, tenant)
    await sync_to_async(lose_newest_change)(tenant)
    again = Agent(tenant.token)
    await again.greet(config.digest)
    await again.hear(protocol.SnapshotWanted)
    return again, config


def found(tenant: Tenant) -> SnapshotRecord | None:
    with tenant.scope:
        return reunion.found_on(Server.objects.get(pk=tenant.server.pk))


def bump(tenant: Tenant) -> None:
    with tenant.scope, transaction.atomic():
        revisions.bump([tenant.server])


def decide(tenant: Tenant, decision: Any) -> Any:
    with tenant.scope:
        return decision(server=tenant.server, actor=tenant.owner)


async def test_shield_that_runs_the_same_is_in_step_at_once(agent: Agent, alice: Tenant) -> None:
    config = await in_step(agent, alice)
    made = await sync_to_async(Epoch.objects.create)(value=secrets.token_hex(16))
    again = Agent(alice.token)
    await again.greet(config.digest)
    answer = await again.hear(protocol.InSync)
    await again.say(protocol.Applied(epoch=answer.epoch, revision=answer.revision, digest=answer.digest, how="nothing"))
    await until(alice, lambda server: server.epoch == made.value)
    await again.disconnect(timeout=20)


async def test_nothing_is_sent_until_a_person_decides(agent: Agent, alice: Tenant) -> None:
    again, _ = await parted(agent, alice)
    held = await until(alice, lambda server: server.apply_state == ApplyState.HELD)
    assert "restored from an older backup" in held.apply_report["message"]
    told = await sync_to_async(Notification.unscoped.values_list("title", "repeats").get)()
    assert told == ("alice-shield waits for a decision", 0)
    # Nor does another change send it.
    await sync_to_async(bump)(alice)
    await again.hear(protocol.SnapshotWanted)
    with pytest.raises(Conflict, match="has not said what it runs"):
        await sync_to_async(decide)(alice, reunion.take_shields)
    await sync_to_async(decide)(alice, reunion.send_dashboards)
    sent = await again.hear(protocol.Config)
    assert Snapshot.decode(sent.snapshot).domains[0].origins[0].port == 4711
    assert sent.allow_shrink
    await again.applied(sent)
    await until(alice, lambda server: server.apply_state == ApplyState.APPLIED and server.epoch == sent.epoch)
    with pytest.raises(Conflict, match="Nothing is held back"):
        await sync_to_async(decide)(alice, reunion.send_dashboards)
    await again.disconnect(timeout=20)


async def test_dashboard_takes_over_what_the_shield_runs(agent: Agent, alice: Tenant) -> None:
    again, config = await parted(agent, alice)
    await again.say(running(config))
    async with asyncio.timeout(20):
        while (record := await sync_to_async(found)(alice)) is None:
            await asyncio.sleep(0.02)
    assert (record.revision, record.digest, record.cause) == (config.revision, config.digest, reunion.CAUSE)
    restored = await sync_to_async(decide)(alice, reunion.take_shields)
    assert restored.domains == 1
    # What the shield is sent is what it has, but for the ids of origins.
    sent = Snapshot.decode((await again.hear(protocol.Config)).snapshot)
    assert not pairs(Snapshot.decode(config.snapshot), sent)
    assert sent.domains[0].origins[0].port != 4711
    await again.disconnect(timeout=20)


@pytest.mark.parametrize(
    "changes",
    [{"content": ""}, {"content": "!"}, {"content": b64encode(zlib.compress(b"{}")).decode()}, {"digest": "0" * 64}],
)
async def test_what_is_not_that_snapshot_is_not_kept(agent: Agent, alice: Tenant, changes: dict[str, Any]) -> None:
    again, config = await parted(agent, alice)
    await again.say(running(config, **changes))
    await again.say(protocol.Heartbeat(clock=1.0, haproxy_running=True))
    await again.hear(protocol.HeartbeatAck)
    assert await sync_to_async(found)(alice) is None
    await again.disconnect(timeout=20)


def test_server_page_offers_both_ways(alice: Tenant, signed_in: Any, api: Any) -> None:
    with alice.scope:
        compiled = compile_snapshot(alice.server.pk)
        assert compiled is not None
        Server.objects.update(epoch="another", applied_revision=7)
        data = Snapshot.encode(msgspec.structs.replace(Snapshot.decode(compiled.data), domains=()))
        assert reunion.is_parted(Server.objects.get(), compiled, digest_of(data))
    page = f"/servers/{alice.server.pk}"
    client = signed_in(alice.owner)
    shown = client.get(page).content.decode()
    assert "Which configuration counts?" in shown
    assert "Take over" not in shown
    with alice.scope:
        content = b64encode(zlib.compress(data)).decode()
        said = protocol.RunningSnapshot(epoch="another", revision=7, digest=digest_of(data), content=content)
        reunion.record_running(server_id=alice.server.pk, running=said)
    shown = client.get(page).content.decode()
    assert "Take over what the shield runs" in shown
    compared = client.get(f"{page}/history?revision=7&against={compiled.revision}").content.decode()
    assert "alice.example" in compared
    answer = api.post(f"/servers/{alice.server.pk}/reunite", {"counts": "both"})
    assert answer.status_code == 400
    assert client.post(f"{page}/reunite", {"counts": "shield"}).status_code == 302
    with alice.scope:
        assert not alice.server.domains.exists()
    answer = api.post(f"/servers/{alice.server.pk}/reunite", {"counts": "dashboard"})
    assert answer.status_code == 409
    assert "Nothing is held back" in answer.json()["detail"]
