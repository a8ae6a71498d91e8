"""The gateway through its WebSocket, as an agent meets it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.apps import apps
from django.core import serializers

from accounts.tenancy import tenant_scope
from lumos_agent import protocol
from lumos_agent.desired import Desired
from lumos_agent.schema import Snapshot, digest_of
from servers import consumers, enrolment, history, snapshots
from servers.models import ApplyState, HourlyMetric, Server, ServerStatus, SnapshotRecord, SnapshotState
from servers.routing import agent_routes
from tests.factories import Tenant
from waf import guards
from waf.lists import add_list_entry
from waf.models import Attack, CustomRule, Event, EventCount, RuleHits

pytestmark = pytest.mark.django_db(transaction=True)
BOOT = str(uuid.uuid4())


def hello(digest: str = "") -> protocol.Hello:
    return protocol.Hello(
        protocol=1,
        boot_id=BOOT,
        epoch="",
        revision=0,
        digest=digest,
        facts=protocol.Facts(agent_version="t", clock=1.0),
    )


class Agent(WebsocketCommunicator):
    """An agent that speaks the protocol by hand."""

    def __init__(self, token: str) -> None:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        super().__init__(URLRouter(agent_routes), "/agent/v1", headers, [protocol.SUBPROTOCOL])

    async def receive_output(self, timeout: float = 1) -> dict[str, Any]:  # noqa: ASYNC109 - Channels' signature
        """Return what the consumer sends; the server that runs it refuses to send codes that are a library's own."""
        output: dict[str, Any] = await super().receive_output(timeout)
        if output["type"] == "websocket.close":
            assert output["code"] == 1000 or 3000 <= output["code"] < 5000, output
        return output

    async def say(self, message: protocol.AgentMessage) -> None:
        await self.send_to(text_data=protocol.encode(message).decode())

    async def hear(self, kind: type[Any]) -> Any:
        """Return the next message, which must be of `kind`."""
        data = b""
        while isinstance(frame := await self.receive_from(timeout=20), bytes):
            data += frame
        message = protocol.gateway_decoder.decode(data + frame.encode())
        assert isinstance(message, kind), message
        return message

    async def greet(self, digest: str = "") -> protocol.Welcome:
        await self.connect(timeout=20)
        await self.say(hello(digest))
        welcome: protocol.Welcome = await self.hear(protocol.Welcome)
        return welcome

    async def applied(self, config: protocol.Config) -> None:
        report = protocol.Applied(epoch=config.epoch, revision=config.revision, digest=config.digest, how="reload")
        await self.say(report)


@pytest.fixture
async def agent(alice: Tenant) -> AsyncIterator[Agent]:
    made = Agent(alice.token)
    yield made
    await made.disconnect(timeout=20)
    await stop_tasks()


async def stop_tasks() -> None:
    tasks = vars(consumers)["gateway"]._tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def row(tenant: Tenant) -> Server:
    with tenant.scope:
        found: Server = Server.objects.get(pk=tenant.server.pk)
        return found


async def until(tenant: Tenant, condition: Any) -> Server:
    async with asyncio.timeout(20):
        while not condition(found := await sync_to_async(row)(tenant)):
            await asyncio.sleep(0.02)
    return found


async def test_agent_gets_the_snapshot_and_reports(agent: Agent, alice: Tenant) -> None:
    welcome = await agent.greet()
    assert welcome.server_id == str(alice.server.pk)
    config = await agent.hear(protocol.Config)
    snapshot = Snapshot.decode(config.snapshot)
    assert [d.hostname for d in snapshot.domains] == ["alice.example"]
    assert snapshot.lists[0].deny == ("203.0.113.7/32",)
    assert config.digest == digest_of(bytes(config.snapshot))
    await agent.applied(config)
    found = await until(alice, lambda server: server.apply_state == ApplyState.APPLIED)
    assert (found.applied_revision, found.applied_domains) == (found.revision, 1)
    assert found.status == ServerStatus.ONLINE


async def test_delivery_keeps_the_snapshot_of_a_large_server_and_marks_it(
    agent: Agent, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.history.AT_ONCE_ROWS", 0)

    def change() -> None:
        with alice.scope:
            add_list_entry(domain=alice.domain, kind="deny", network="198.51.100.0/24", actor=alice.owner)

    def record() -> SnapshotRecord:
        with alice.scope:
            return history.records(alice.server)[0]

    await sync_to_async(change)()
    assert (await sync_to_async(record)()).digest == ""
    await agent.greet()
    config = await agent.hear(protocol.Config)
    async with asyncio.timeout(20):
        while (kept := await sync_to_async(record)()).digest != config.digest:
            await asyncio.sleep(0.02)
    assert kept.revision == config.revision
    await agent.applied(config)
    await until(alice, lambda server: server.apply_state == ApplyState.APPLIED)
    assert (await sync_to_async(record)()).state == SnapshotState.APPLIED


async def test_change_of_a_large_snapshot_is_a_patch(
    agent: Agent, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.increments.PATCH_FROM_BYTES", 0)

    def change(network: str) -> None:
        with alice.scope:
            add_list_entry(domain=alice.domain, kind="deny", network=network, actor=alice.owner)

    desired = Desired(lambda: None)
    await agent.greet()
    desired.take(await agent.hear(protocol.Config))
    await sync_to_async(change)("198.51.100.0/24")
    patch = await agent.hear(protocol.Patch)
    assert (len(patch.domains), len(patch.lists)) == (0, 1)
    config = desired.patched(patch)
    assert config is not None
    await agent.applied(config)
    found = await until(alice, lambda server: server.apply_state == ApplyState.APPLIED)
    assert found.applied_revision == config.revision

    await sync_to_async(change)("198.51.100.7/32")
    lost = await agent.hear(protocol.Patch)
    assert Desired(lambda: None).patched(lost) is None
    await agent.say(protocol.Resend())
    whole = await agent.hear(protocol.Config)
    assert (whole.revision, whole.digest) == (lost.revision, lost.digest)
    assert "198.51.100.7/32" in Snapshot.decode(whole.snapshot).networks()[str(alice.domain.pk)][1]


async def test_agent_that_has_the_digest_gets_no_configuration(agent: Agent, alice: Tenant) -> None:
    def compiled() -> snapshots.Compiled:
        with alice.scope:
            found = snapshots.compile_snapshot(alice.server.pk)
            assert found is not None
            return found

    await agent.greet((await sync_to_async(compiled)()).digest)
    await agent.hear(protocol.InSync)


async def test_change_reaches_the_agent_through_redis(agent: Agent, alice: Tenant) -> None:
    await agent.greet()
    first = await agent.hear(protocol.Config)
    await agent.applied(first)
    await until(alice, lambda server: server.apply_state == ApplyState.APPLIED)

    def change() -> None:
        with alice.scope:
            add_list_entry(domain=alice.domain, kind="deny", network="198.51.100.0/24", actor=alice.owner)

    await sync_to_async(change)()
    second = await agent.hear(protocol.Config)
    assert second.revision == first.revision + 1
    assert b"198.51.100.0/24" in bytes(second.snapshot)


async def test_lost_wake_up_is_found_by_the_sweep(agent: Agent, alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.gateway.SWEEP_SECONDS", 0.1)
    await agent.greet()
    first = await agent.hear(protocol.Config)

    def change_without_message() -> None:
        Server.unscoped.filter(pk=alice.server.pk).update(revision=first.revision + 5)

    await sync_to_async(change_without_message)()
    assert (await agent.hear(protocol.Config)).revision == first.revision + 5


async def test_failure_shows_haproxys_words_and_the_next_change_heals(agent: Agent, alice: Tenant) -> None:
    await agent.greet()
    config = await agent.hear(protocol.Config)
    refusal = protocol.Failed(
        epoch=config.epoch, revision=config.revision, digest=config.digest, stage="check",
        message="unknown keyword 'x'", rolled_back=True,
    )  # fmt: skip
    await agent.say(refusal)
    found = await until(alice, lambda server: server.apply_state == ApplyState.FAILED)
    assert found.apply_report["message"] == "unknown keyword 'x'"
    assert found.status == ServerStatus.ERROR


async def test_snapshot_that_lost_its_domains_by_itself_is_held_back(agent: Agent, alice: Tenant) -> None:
    await sync_to_async(Server.unscoped.filter(pk=alice.server.pk).update)(applied_domains=10)
    await agent.greet()
    assert await agent.receive_nothing(timeout=0.5)
    found = await until(alice, lambda server: server.apply_state == ApplyState.HELD)
    assert "nobody removed" in found.apply_report["message"]


@pytest.mark.parametrize("token", ["", "lmst_" + "0" * 64, "x" * 10_000, "lmsk_" + "0" * 64])
async def test_unknown_token_is_refused(db: None, token: str) -> None:
    agent = Agent(token)
    await agent.connect(timeout=20)
    closed = await agent.receive_output(timeout=20)
    assert closed["type"] == "websocket.close"
    assert closed["code"] == protocol.CLOSE_UNAUTHORISED


async def test_rotated_token_ends_the_connection(agent: Agent, alice: Tenant) -> None:
    await agent.greet()
    await agent.hear(protocol.Config)

    def rotate() -> str:
        with alice.scope:
            return enrolment.rotate_token(server=alice.server, actor=alice.owner)

    fresh = await sync_to_async(rotate)()
    assert (await agent.receive_output(timeout=20))["type"] == "websocket.close"
    again = Agent(fresh)
    await again.greet()
    await again.disconnect(timeout=20)


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "nonsense"}', '{"type": "batch", "seq": -1}', "x" * 5000])
async def test_broken_message_ends_the_connection(agent: Agent, text: str) -> None:
    await agent.greet()
    await agent.hear(protocol.Config)
    await agent.send_to(text_data=text)
    closed = await agent.receive_output(timeout=20)
    assert (closed["type"], closed["code"]) == ("websocket.close", protocol.CLOSE_PROTOCOL)


async def test_batch_is_counted_once_however_often_it_comes(agent: Agent, alice: Tenant) -> None:
    await agent.greet()
    await agent.hear(protocol.Config)
    traffic = protocol.Traffic(domain_id=str(alice.domain.pk), hour=1_795_240_800, requests=7, blocked=2)
    event = protocol.Event(
        request_id="r", time=1_795_240_801.5, domain_id=str(alice.domain.pk), client="192.0.2.1", method="GET",
        host="alice.example", path="/\0x", action="block", rules=("sqli-union",),
    )  # fmt: skip
    foreign = msgspec.structs.replace(traffic, domain_id=str(uuid.uuid4()))
    rule = await sync_to_async(custom_rule)(alice)
    hits = protocol.RuleHits(rule=str(rule), hour=1_795_240_800, hits=3)
    attack = protocol.Attack(domain_id=str(alice.domain.pk), began=1_795_240_801.25, reason="requests")
    batch = protocol.Batch(
        boot_id=BOOT, seq=1, traffic=(traffic, foreign), events=(event,), hits=(hits,), attacks=(attack,)
    )
    for _ in range(3):
        await agent.say(batch)
        assert (await agent.hear(protocol.BatchAck)).seq == 1
    ended = msgspec.structs.replace(attack, ended=1_795_241_200.0)
    await agent.say(msgspec.structs.replace(batch, seq=2, events=(), attacks=(ended,)))
    await agent.hear(protocol.BatchAck)

    def counted() -> tuple[list[int], int, list[int], list[bool]]:
        with alice.scope:
            requests = list(HourlyMetric.objects.values_list("requests", flat=True))
            held = list(RuleHits.objects.values_list("hits", flat=True))
            return requests, Event.objects.count(), held, [bool(row.ended_at) for row in Attack.objects.all()]

    assert await sync_to_async(counted)() == ([14], 1, [6], [True])


def custom_rule(tenant: Tenant) -> Any:
    with tenant.scope:
        row = CustomRule(domain=tenant.domain, position=0, name="r", expression='path eq "/"', action="log")
        row.save()
    return row.pk


async def test_events_beyond_the_daily_cap_are_counted_not_stored(
    agent: Agent, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waf.events.EVENTS_PER_DAY", 3)
    await agent.greet()
    await agent.hear(protocol.Config)
    event = protocol.Event(
        request_id="r", time=1.0, domain_id=str(alice.domain.pk), client="2001:db8::1", method="GET", host="h", path="/",
        action="block",
    )  # fmt: skip
    await agent.say(protocol.Batch(boot_id=BOOT, seq=1, events=(event,) * 5, events_dropped=2))
    await agent.hear(protocol.BatchAck)

    def counted() -> tuple[int, int, int]:
        with alice.scope:
            day = EventCount.objects.get()
            return Event.objects.count(), day.stored, day.counted

    assert await sync_to_async(counted)() == (3, 3, 4)


async def test_another_tenants_agent_sees_and_counts_nothing_of_ours(
    agent: Agent, alice: Tenant, mallory: Tenant
) -> None:
    spy = Agent(mallory.token)
    await spy.greet()
    assert b"alice" not in bytes((await spy.hear(protocol.Config)).snapshot)
    traffic = protocol.Traffic(domain_id=str(alice.domain.pk), hour=1_795_240_800, requests=7)
    rule = await sync_to_async(custom_rule)(alice)
    hits = protocol.RuleHits(rule=str(rule), hour=1_795_240_800, hits=3)
    attack = protocol.Attack(domain_id=str(alice.domain.pk), began=1.0, reason="errors")
    await spy.say(protocol.Batch(boot_id=BOOT, seq=1, traffic=(traffic,), hits=(hits,), attacks=(attack,)))
    await spy.hear(protocol.BatchAck)
    await agent.greet()
    await agent.hear(protocol.Config)
    await spy.say(protocol.Applied(epoch="x", revision=99, digest="", how="reload"))
    await spy.disconnect(timeout=20)

    def counted() -> int:
        return HourlyMetric.unscoped.count() + RuleHits.unscoped.count() + Attack.unscoped.count()

    assert await sync_to_async(counted)() == 0


async def test_second_connection_replaces_the_first(agent: Agent, alice: Tenant) -> None:
    await agent.greet()
    await agent.hear(protocol.Config)
    second = Agent(alice.token)
    await second.greet()
    closed = await agent.receive_output(timeout=20)
    assert (closed["type"], closed["code"]) == ("websocket.close", protocol.CLOSE_REPLACED)
    await second.hear(protocol.Config)
    await second.disconnect(timeout=20)


async def test_client_that_one_shield_limits_is_denied_by_the_shields_of_the_account(
    agent: Agent, alice: Tenant
) -> None:
    def ban_by_rule() -> None:
        guard = guards.canonical_guard({"rates": [{"id": "login", "requests": 5, "action": "ban"}]})
        with alice.scope:
            guards.put_guard(domain=alice.domain, wanted=guard, actor=alice.owner)

    await sync_to_async(ban_by_rule)()
    await agent.greet()
    await agent.applied(await agent.hear(protocol.Config))
    event = protocol.Event(
        request_id="r", time=1.0, domain_id=str(alice.domain.pk), client="198.51.100.7", method="GET", host="h", path="/",
        action="limit", rules=("rate:login",),
    )  # fmt: skip
    await agent.say(protocol.Batch(boot_id=BOOT, seq=1, events=(event,)))
    await agent.hear(protocol.BatchAck)
    lists = Snapshot.decode((await agent.hear(protocol.Config)).snapshot).networks()
    assert lists["*"] == ([], ["198.51.100.7/32"])


async def test_long_message_comes_in_pieces(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PIECE_BYTES_MAX", 100)
    await agent.greet()
    config = await agent.hear(protocol.Config)
    assert len(bytes(config.snapshot)) > 100
    assert Snapshot.decode(bytes(config.snapshot)).domains


def test_snapshot_is_deterministic(alice: Tenant) -> None:
    with tenant_scope(alice.account.pk):
        first, second = (snapshots.compile_snapshot(alice.server.pk) for _ in range(2))
    assert first == second


def test_secrets_are_kept_as_hashes_only(alice: Tenant) -> None:
    rows = [row for model in apps.get_models() for row in model._base_manager.all()]
    dump = serializers.serialize("json", rows)
    assert alice.token not in dump
    assert alice.api_key not in dump
