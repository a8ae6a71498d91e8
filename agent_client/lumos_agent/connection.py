"""The WebSocket to the gateway: dial, hello, heartbeat, deadline, back-off with full jitter.

When WebSockets are refused several times in a row, the agent polls (polling.py), and tries them again now and then.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from lumos_agent import protocol
from lumos_agent.config import checked_gateway_url
from lumos_agent.polling import Polling

log = logging.getLogger(__name__)

BACKOFF_BASE_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 60.0
STABLE_SECONDS = 10.0
REFUSALS_MAX = 3
POLL_SECONDS = 60
REVOKED_SECONDS = 60.0
CLOSE_WORDS = {
    protocol.CLOSE_UNAUTHORISED: "the token is not valid (rotated or removed): enroll again with the new one",
    protocol.CLOSE_REPLACED: "another agent connected with this token: stop the other one or rotate the token",
    protocol.CLOSE_PROTOCOL: "this agent and the gateway speak different protocols: upgrade the agent",
}


class Backoff:
    """Delays before reconnects: uniform between 0 and a ceiling that doubles (full jitter)."""

    def __init__(self, random_between: Callable[[float, float], float] = random.uniform) -> None:
        self._between = random_between
        self._ceiling = BACKOFF_BASE_SECONDS

    def next_delay(self, at_least_about: float = 0.0) -> float:
        """Return the next delay; a hint of the gateway moves the range to [hint, 2 x hint]."""
        delay = self._between(0.0, self._ceiling)
        self._ceiling = min(self._ceiling * 2, BACKOFF_CAP_SECONDS)
        return delay if not at_least_about else self._between(at_least_about, 2 * at_least_about)

    def reset(self) -> None:
        """Begin anew, after a connection that stayed up."""
        self._ceiling = BACKOFF_BASE_SECONDS


CONNECTED = "connected"


class Handler(Protocol):
    """What a connection is for."""

    def hello(self) -> protocol.Hello:
        """Return the first message."""

    async def heartbeat(self) -> protocol.Heartbeat:
        """Return what is sent every `HEARTBEAT_SECONDS`."""

    async def connected(self, send: "Send", welcome: protocol.Welcome, how: str = CONNECTED) -> None:
        """Take note of a connection; `send` works until `disconnected`. `how` is for people."""

    async def received(self, message: protocol.GatewayMessage) -> None:
        """Handle one message."""

    def disconnected(self, why: str) -> None:
        """Take note that it has ended."""


Send = Callable[[protocol.AgentMessage], Awaitable[None]]


class Connection:
    """Keeps one connection to the gateway for ever. `refusals` counts WebSockets that were refused in a row."""

    def __init__(
        self,
        url: str,
        token: str,
        handler: Handler,
        *,
        ca_file: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff | None = None,
        poll_seconds: int = POLL_SECONDS,
    ) -> None:
        self._url = checked_gateway_url(url)
        self._token = token
        self._handler = handler
        self._tls = ssl.create_default_context(cafile=ca_file or None) if url.startswith("wss://") else None
        self._clock = clock
        self._sleep = sleep
        self._backoff = backoff or Backoff()
        self._hint = 0.0
        self._useful_at = 0.0
        self.refusals = 0
        self._polling = Polling(url, token, handler, self._tls, seconds=poll_seconds, clock=clock)

    async def run(self) -> None:
        """Connect again and again."""
        while True:
            began = self._clock()
            self._hint = 0.0
            why = await self.once()
            if self.refusals >= REFUSALS_MAX:
                log.warning("websocket_refused", extra={"why": why})
                if not (failure := await self.poll(why)):
                    continue
                why = failure
            self._handler.disconnected(why)
            if self._clock() - began >= STABLE_SECONDS:
                self._backoff.reset()
            delay = self._backoff.next_delay(self._hint)
            log.warning("disconnected", extra={"why": why, "retry_seconds": round(delay, 1)})
            await self._sleep(delay)

    async def once(self) -> str:
        """Hold one connection until it ends; returns why, in words for a person."""
        try:
            async with connect(
                self._url,
                additional_headers={"Authorization": f"Bearer {self._token}"},
                subprotocols=[protocol.SUBPROTOCOL],  # type: ignore[list-item]
                ssl=self._tls,
                max_size=protocol.MESSAGE_BYTES_MAX,
                ping_interval=None,  # the protocol has its own heartbeat
                open_timeout=15,
                close_timeout=2,
                proxy=None,
            ) as socket:
                return await self._serve(socket)
        except ConnectionClosed as closed:
            return self._closed(closed)
        except (InvalidHandshake, TimeoutError) as error:
            self.refusals += 1
            return f"WebSockets to {self._url} are refused: {error}"
        except (OSError, InvalidURI) as error:
            return f"cannot reach {self._url}: {error}"

    async def poll(self, because: str) -> str:
        """Poll for a while; returns why that failed, or nothing if it is time to try a WebSocket again."""
        why = await self._polling.session(because)
        self._hint = self._polling.hint
        if self._polling.is_unauthorised:
            self._hint = REVOKED_SECONDS
            return CLOSE_WORDS[protocol.CLOSE_UNAUTHORISED]
        return why

    def _closed(self, closed: ConnectionClosed) -> str:
        code = closed.rcvd.code if closed.rcvd else 1006
        if code in CLOSE_WORDS:
            self._hint = REVOKED_SECONDS
            return CLOSE_WORDS[code]
        return f"the gateway closed the connection ({code})"

    async def _serve(self, socket: ClientConnection) -> str:
        async def send(message: protocol.AgentMessage) -> None:
            await socket.send(protocol.encode(message).decode())

        self.refusals = 0
        await send(self._handler.hello())
        self._useful_at = self._clock()
        beats = asyncio.create_task(self._beat(socket, send))
        try:
            async for message in self._messages(socket):
                self._useful_at = self._clock()
                if isinstance(message, protocol.Welcome):
                    await self._handler.connected(send, message)
                elif isinstance(message, protocol.Retry):
                    self._hint = float(message.after_seconds)
                    return f"the gateway asks to come back later: {message.message}"
                else:
                    await self._handler.received(message)
        finally:
            beats.cancel()
        return "the gateway closed the connection"

    async def _messages(self, socket: ClientConnection) -> AsyncIterator[protocol.GatewayMessage]:
        async for text in socket:
            try:
                yield protocol.gateway_decoder.decode(text)
            except msgspec.DecodeError as error:
                log.error("gateway_message_invalid", extra={"error": str(error)})

    async def _beat(self, socket: ClientConnection, send: Send) -> None:
        """Send heartbeats; a gateway that says nothing useful within the deadline is given up."""
        while True:
            await self._sleep(protocol.HEARTBEAT_SECONDS)
            if self._clock() - self._useful_at > protocol.PEER_DEADLINE_SECONDS:
                log.warning("gateway_silent")
                await socket.close(1011)
                return
            await send(await self._handler.heartbeat())
