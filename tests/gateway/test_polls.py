"""Agents that poll: the same guarantees as over a WebSocket."""

import gzip
import secrets
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.http import HttpResponse
from django.test import AsyncRequestFactory

from domains.services import OriginData, add_domain
from lumos_agent import protocol
from lumos_agent.schema import Snapshot
from lumos_agent.store import Stored, running_snapshot
from servers.models import ApplyState, Epoch, HourlyMetric, Server, ServerStatus
from servers.polls import poll
from tests.factories import Tenant
from tests.gateway.test_agents import BOOT, hello, row

pytestmark = pytest.mark.django_db(transaction=True)
GREETING = protocol.Poll(interval_seconds=30)


async def post(token: str, body: bytes, **headers: str) -> HttpResponse:
    request = AsyncRequestFactory().post(
        "/agent/v1/poll", body, content_type="application/json", headers={"Authorization": f"Bearer {token}", **headers}
    )
    answer: HttpResponse = await poll(request)
    return answer


async def exchange(tenant: Tenant, *messages: protocol.AgentMessage, digest: str = "", named: Any = None) -> list[Any]:
    """Return what the gateway answers after its welcome."""
    first = GREETING if named is None else msgspec.structs.replace(GREETING, epoch=named.epoch, revision=named.revision)
    answer = await post(tenant.token, protocol.encode([first, hello(digest), *messages]))
    assert answer.status_code == 200, answer.content
    welcome, *others = protocol.poll_answer_decoder.decode(answer.content)
    assert isinstance(welcome, protocol.Welcome)
    return others


def applied(config: protocol.Config) -> protocol.Applied:
    return protocol.Applied(epoch=config.epoch, revision=config.revision, digest=config.digest, how="reload")


async def add(tenant: Tenant) -> None:
    def change() -> None:
        with tenant.scope:
            origins = [OriginData(address="127.0.0.1", port=80)]
            add_domain(hostname="new.example", origins=origins, servers=[tenant.server], actor=tenant.owner)

    await sync_to_async(change)()


async def test_configuration_arrives_once_and_a_change_with_the_next_poll(alice: Tenant) -> None:
    [config] = await exchange(alice)
    assert [d.hostname for d in Snapshot.decode(config.snapshot).domains] == ["alice.example"]
    # While it is being applied, and after it failed, it is not sent again.
    assert await exchange(alice, named=config) == []
    await exchange(alice, applied(config), digest=config.digest, named=config)
    found = await sync_to_async(row)(alice)
    assert (found.apply_state, found.applied_domains, found.status) == (ApplyState.APPLIED, 1, ServerStatus.ONLINE)
    assert await exchange(alice, digest=config.digest, named=config) == []
    # An agent that was started anew learns that all is well.
    [in_sync] = await exchange(alice, digest=config.digest)
    assert (type(in_sync), in_sync.revision) == (protocol.InSync, config.revision)
    await add(alice)
    [config] = await exchange(alice, digest=config.digest, named=config)
    assert len(Snapshot.decode(config.snapshot).domains) == 2
    [again] = await exchange(alice, protocol.Resend(), digest="", named=config)
    assert again == config


async def test_failure_is_recorded_and_not_answered_with_the_same_again(alice: Tenant) -> None:
    [config] = await exchange(alice)
    report = protocol.Failed(
        epoch=config.epoch,
        revision=config.revision,
        digest=config.digest,
        stage="check",
        message="no",
        rolled_back=True,
    )
    assert await exchange(alice, report, named=config) == []
    assert (await sync_to_async(row)(alice)).apply_state == ApplyState.FAILED


async def test_batch_that_is_sent_twice_counts_once(alice: Tenant) -> None:
    traffic = (protocol.Traffic(domain_id=str(alice.domain.pk), hour=3600 * 480_000, requests=5, status_2xx=5),)
    batch = protocol.Batch(boot_id=BOOT, seq=1, traffic=traffic)
    for _ in range(2):
        answers = await exchange(alice, batch)
        assert protocol.BatchAck(boot_id=BOOT, seq=1) in answers

    def counted() -> int:
        with alice.scope:
            return sum(HourlyMetric.objects.values_list("requests", flat=True))

    assert await sync_to_async(counted)() == 5


async def test_order_is_counted_over_polls_too(alice: Tenant) -> None:
    wanted = protocol.OrderWanted(domain_id=str(alice.domain.pk))
    assert protocol.OrderAnswer(domain_id=wanted.domain_id, is_granted=True) in await exchange(alice, wanted)


async def test_presence_lasts_for_two_missed_polls(alice: Tenant) -> None:
    await exchange(alice)

    def lease() -> tuple[float, Any]:
        with alice.scope:
            found = Server.objects.get(pk=alice.server.pk)
            return (found.lease_until - found.last_seen_at).total_seconds(), found.facts["poll_seconds"]

    seconds, shown = await sync_to_async(lease)()
    assert (seconds >= 60, shown) == (True, 30)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"nonsense", 400),
        (protocol.encode([hello()]), 400),
        (protocol.encode([GREETING]), 400),
        (protocol.encode([GREETING, msgspec.structs.replace(hello(), protocol=99)]), 400),
        (protocol.encode([msgspec.to_builtins(GREETING) | {"interval_seconds": 0}, hello()]), 400),
    ],
    ids=["nothing", "empty", "nonsense", "no greeting", "no hello", "another protocol", "no interval"],
)
async def test_other_bodies_are_refused(alice: Tenant, body: bytes, status: int) -> None:
    assert (await post(alice.token, body)).status_code == status


async def test_unknown_token_learns_nothing(alice: Tenant) -> None:
    answer = await post("lmst_unknown", protocol.encode([GREETING, hello()]))
    assert (answer.status_code, b"alice" in answer.content) == (401, False)


async def test_large_answers_are_compressed(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.polls.COMPRESSED_FROM_BYTES", 0)
    answer = await post(alice.token, protocol.encode([GREETING, hello()]), **{"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert len(protocol.poll_answer_decoder.decode(gzip.decompress(answer.content))) == 2


async def test_database_outage_is_no_refusal(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr("servers.sessions.record_hellos", broken)
    answer = await post(alice.token, protocol.encode([GREETING, hello()]))
    assert isinstance(protocol.poll_answer_decoder.decode(answer.content)[0], protocol.Retry)


async def test_shield_of_a_restored_database_is_asked_once_what_it_runs(alice: Tenant) -> None:
    [config] = await exchange(alice)
    await exchange(alice, applied(config), digest=config.digest, named=config)
    await sync_to_async(Epoch.objects.create)(value=secrets.token_hex(16))
    await add(alice)
    [wanted] = await exchange(alice, digest=config.digest)
    assert isinstance(wanted, protocol.SnapshotWanted)
    runs = running_snapshot(Stored(epoch="e", revision=1, digest=config.digest, snapshot=bytes(config.snapshot)))
    await exchange(alice, runs, digest=config.digest)
    assert await exchange(alice, digest=config.digest) == []
