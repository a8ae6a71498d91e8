"""Probes of a real shield, and of what else may stand at its address."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lumos_agent import probes, protocol
from lumos_agent.prober import KEY_NAME, Prober
from lumos_agent.probes import Target, new_key, probe, proof
from lumos_agent.verdict import FALL
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.visitor import get, origin
from tests.services import free_port

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def target(port: int, key: str, address: str = "127.0.0.1") -> Target:
    return Target(ident(1), address, port, key)


class Gateway:
    """Keeps what a prober tells."""

    def __init__(self, shield: Shield) -> None:
        self.results: list[protocol.ProbeResult] = []
        self.prober = Prober(shield.state, self._take)

    async def _take(self, message: protocol.AgentMessage) -> None:
        assert isinstance(message, protocol.Probes)
        self.results += message.results


def peers(key: str, *targets: Target) -> protocol.Peers:
    found = (protocol.Peer(server_id=t.server, addresses=(t.address,), port=t.port, key=t.key) for t in targets)
    return protocol.Peers(key=key, peers=tuple(found))


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[int]:
    listening = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


@pytest.mark.integration
async def test_a_shield_proves_itself_and_nothing_else_changes_for_visitors(shield: Shield) -> None:
    gateway, key = Gateway(shield), new_key()
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        before = await probe(target(shield.port, key))
        assert before is not None
        assert before.reason == "another server answers: HTTP/1.1 200 OK"  # it has no key yet
        await gateway.prober.use(peers(key))
        seen = await probe(target(shield.port, key))
        assert seen is not None
        assert seen.is_ok
        other = await probe(target(shield.port, new_key()))
        assert other is not None
        assert not other.is_ok
        status, answer = await get(shield.port, "d1.example", f"{probes.ALIVE_PATH}?abc")
        assert (status, proof(key, "abc") in answer) == (200, True)
        assert key not in answer
        assert (await get(shield.port, "d1.example", f"{probes.ALIVE_PATH}/more"))[1].count("hello") == 1


@pytest.mark.integration
async def test_the_key_outlives_reloads_and_restarts(shield: Shield) -> None:
    gateway, key = Gateway(shield), new_key()
    await shield.applier.apply(config(1, domain(1)))
    await gateway.prober.use(peers(key))
    assert (await shield.applier.apply(config(2, domain(1), domain(2)))).how == "reload"
    seen = await probe(target(shield.port, key))
    assert seen is not None
    assert seen.is_ok
    shield.state.alive_map.unlink()
    Prober(shield.state, gateway._take)
    assert shield.state.alive_map.read_text() == f"{KEY_NAME} {key}\n"


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def pretends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    query = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().partition("?")[2]
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + proof(new_key(), query).encode())
    writer.close()


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    except ConnectionError:
        writer.close()


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (hangs, "no HTTP answer within 3 s"),
        (closes, "closed without an answer"),
        (pretends, "another server answers: HTTP/1.1 200 OK"),
        (floods, "another server answers: " + "x" * 40),
    ],
)
async def test_what_is_no_shield(handler: Handler, reason: str) -> None:
    async with server(handler) as port:
        seen = await probe(target(port, new_key()))
    assert seen is not None
    assert (seen.is_ok, seen.reason) == (False, reason)


async def test_nobody_listens() -> None:
    seen = await probe(target(free_port(), new_key()))
    assert seen is not None
    assert (seen.is_ok, "refused" in seen.reason) == (False, True)


async def test_only_news_are_told_and_everything_after_a_reconnect(shield: Shield) -> None:
    gateway, key = Gateway(shield), new_key()
    await shield.applier.apply(config(1, domain(1)))
    await gateway.prober.use(peers(key, target(shield.port, key)))
    for _ in range(3):
        await gateway.prober.round()
    assert [(result.server_id, result.is_ok) for result in gateway.results] == [(ident(1), True)]
    gateway.prober.tell_all()
    await gateway.prober.round()
    assert len(gateway.results) == 2


async def test_a_failure_is_told_when_it_is_settled(shield: Shield) -> None:
    gateway = Gateway(shield)
    await gateway.prober.use(peers(new_key(), target(free_port(), new_key())))
    for _ in range(FALL):
        assert (gateway.results, gateway.prober.sights("own")) == ([], [])
        await gateway.prober.round()
    assert [result.is_ok for result in gateway.results] == [False]
    (sight,) = gateway.prober.sights("own")
    assert (sight.vantage, sight.is_ok) == ("own", False)


async def test_peers_survive_a_restart(shield: Shield) -> None:
    gateway, key = Gateway(shield), new_key()
    named = peers(key, target(free_port(), key))
    await gateway.prober.use(named)
    again = Gateway(shield)
    for _ in range(FALL):
        await again.prober.round()
    assert [result.is_ok for result in again.results] == [False]
