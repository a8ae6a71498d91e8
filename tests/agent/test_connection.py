"""Back-off, the gateway's URL, and a conversation with a gateway that misbehaves."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from lumos_agent import protocol
from lumos_agent.config import Settings, checked_gateway_url
from lumos_agent.connection import BACKOFF_CAP_SECONDS, CLOSE_WORDS, Backoff, Connection, Send
from lumos_agent.enrolment import _server_id
from lumos_agent.errors import AgentError
from tests.agent.builders import ident


def test_backoff_doubles_to_a_cap_with_full_jitter_and_resets() -> None:
    ranges: list[tuple[float, float]] = []
    backoff = Backoff(lambda low, high: ranges.append((low, high)) or high)  # type: ignore[func-returns-value]
    delays = [backoff.next_delay() for _ in range(12)]
    assert all(low == 0.0 for low, _ in ranges)
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == BACKOFF_CAP_SECONDS
    backoff.reset()
    assert backoff.next_delay() == 0.5


def test_hint_of_the_gateway_moves_the_range() -> None:
    assert 30.0 <= Backoff().next_delay(30.0) <= 60.0


@pytest.mark.parametrize("url", ["wss://lumos.example.com/agent/v1", "ws://127.0.0.1:1/x", "ws://[::1]:1/x"])
def test_encrypted_or_local_urls_are_accepted(url: str) -> None:
    assert checked_gateway_url(url) == url


@pytest.mark.parametrize(
    "url", ["ws://lumos.example.com/agent/v1", "http://127.0.0.1", "", "wss://", "lumos.example.com"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(AgentError):
        checked_gateway_url(url)


class Listener:
    """Notes what a connection tells."""

    def __init__(self) -> None:
        self.welcomes: list[protocol.Welcome] = []
        self.received_messages: list[Any] = []

    def hello(self) -> protocol.Hello:
        return protocol.Hello(protocol=1, boot_id=ident(1), epoch="", revision=0, digest="", facts=protocol.Facts())

    async def heartbeat(self) -> protocol.Heartbeat:
        return protocol.Heartbeat(clock=0.0, haproxy_running=True)

    async def connected(self, send: Send, welcome: protocol.Welcome, how: str = "") -> None:
        self.welcomes.append(welcome)

    async def received(self, message: protocol.GatewayMessage) -> None:
        self.received_messages.append(message)

    def disconnected(self, why: str) -> None:
        pass


async def talk(handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> tuple[str, Listener]:
    """Let a connection meet a gateway that does `handler`; returns why it ended."""
    listener = Listener()
    async with serve(handler, "127.0.0.1", 0, subprotocols=["lumos.v1"]) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        connection = Connection(f"ws://127.0.0.1:{port}/agent/v1", "t", listener, **options)
        async with asyncio.timeout(10):
            return await connection.once(), listener


async def welcome(socket: ServerConnection) -> None:
    await socket.recv()
    await socket.send(protocol.encode(protocol.Welcome(server_id=ident(9), epoch="e")).decode())


async def test_welcome_reaches_the_handler_and_nonsense_is_survived() -> None:
    async def gateway(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.send("nonsense")
        await socket.send(protocol.encode(protocol.InSync(epoch="e", revision=3, digest="")).decode())
        await socket.close()

    _, listener = await talk(gateway)
    assert listener.welcomes[0].server_id == ident(9)
    assert [type(message) for message in listener.received_messages] == [protocol.InSync]


@pytest.mark.parametrize("code", list(CLOSE_WORDS))
async def test_close_codes_become_words_and_a_slow_retry(code: int) -> None:
    async def gateway(socket: ServerConnection) -> None:
        await socket.close(code)

    why, _ = await talk(gateway)
    assert why == CLOSE_WORDS[code]


async def test_silent_gateway_is_given_up() -> None:
    now = [0.0]

    async def hurry(seconds: float) -> None:
        now[0] += seconds
        await asyncio.sleep(0)

    async def gateway(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.wait_closed()

    why, _ = await talk(gateway, clock=lambda: now[0], sleep=hurry)
    assert "closed" in why
    assert now[0] >= protocol.PEER_DEADLINE_SECONDS


async def test_unreachable_gateway_is_said() -> None:
    why = await Connection("ws://127.0.0.1:9/agent/v1", "t", Listener()).once()
    assert "cannot reach" in why


async def refusing_websockets(answer: bytes, polls: list[bytes]) -> asyncio.Server:
    """Return a server that answers 403 to upgrades and `answer` to polls, whose bodies it notes."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST /agent/v1/poll "):
            length = next(
                int(line.split()[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")
            )
            polls.append(await reader.readexactly(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        else:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve_one, "127.0.0.1", 0)


async def test_enrolment_finds_its_way_where_websockets_are_refused() -> None:
    polls: list[bytes] = []
    answer = protocol.encode([protocol.Welcome(server_id=ident(9), epoch="e")])
    async with await refusing_websockets(answer, polls) as server:
        settings = Settings(gateway_url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/agent/v1")
        async with asyncio.timeout(20):
            assert await _server_id(settings, "t", ident(1)) == ident(9)
    poll, hello, _ = protocol.poll_decoder.decode(polls[0])
    assert isinstance(poll, protocol.Poll)
    assert isinstance(hello, protocol.Hello)


@pytest.mark.parametrize("answer", [b"<html>proxy</html>", b"[{}]"])
async def test_answer_of_a_proxy_is_no_gateway(answer: bytes) -> None:
    async with await refusing_websockets(answer, []) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/agent/v1"
        connection = Connection(url, "t", Listener(), poll_seconds=1)
        async with asyncio.timeout(20):
            assert "403" in await connection.once()
            assert "not the gateway's" in await connection.poll("403")
    assert connection.refusals == 1
