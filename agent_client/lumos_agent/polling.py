"""The same conversation by HTTPS requests, for shields whose network refuses WebSockets.

One request carries what the agent has to say and brings back what the gateway would have sent. What cannot wait (how an
apply went, challenges) is said at once, everything else with the next poll.
"""

import asyncio
import contextlib
import http.client
import logging
import random
import ssl
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from lumos_agent import protocol
from lumos_agent.errors import AgentError

if TYPE_CHECKING:
    from lumos_agent.connection import Handler

log = logging.getLogger(__name__)

POLLS = 10
REQUEST_SECONDS = 30.0
TOGETHER_SECONDS = 0.5
DRAIN_SECONDS = 2.0
_GZIP = 16 + zlib.MAX_WBITS
_PATIENT = protocol.Heartbeat | protocol.Batch | protocol.Origins


class PollFailed(AgentError):
    """The gateway did not answer a poll as it should; `status` is that of HTTP, 0 if there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Polling:
    """Polls every `seconds` (a tenth more or less), sooner when there is something that cannot wait."""

    def __init__(
        self,
        url: str,
        token: str,
        handler: "Handler",
        tls: ssl.SSLContext | None,
        *,
        seconds: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._token = token
        self._handler = handler
        self._tls = tls
        self._seconds = seconds
        self._clock = clock
        self._outbox: list[protocol.AgentMessage] = []
        self._urgent = asyncio.Event()
        self._acknowledged_at = 0.0
        self._named = ("", -1)
        self._holds_challenges = False
        self.hint = 0.0
        self.is_unauthorised = False

    async def session(self, because: str) -> str:
        """Poll until it fails, or until it is time to try a WebSocket again; returns why it failed, if it did.

        `because` says why there is no WebSocket.
        """
        self._named, self.hint, self.is_unauthorised = ("", -1), 0.0, False
        self._outbox.clear()
        for number in range(POLLS):
            try:
                answers = await self._exchange()
            except PollFailed as error:
                self.is_unauthorised = error.status == http.HTTPStatus.UNAUTHORIZED
                return str(error)
            for message in answers:
                if isinstance(message, protocol.Welcome):
                    if number == 0:
                        how = f"connected, polls every {self._seconds} s: {because}"
                        await self._handler.connected(self._send, message, how)
                elif isinstance(message, protocol.Retry):
                    self.hint = float(message.after_seconds)
                    return f"the gateway asks to come back later: {message.message}"
                else:
                    await self._take(message)
            await self._until_next()
        return ""

    async def _take(self, message: protocol.GatewayMessage) -> None:
        match message:
            case protocol.Config() | protocol.InSync():
                self._named = (message.epoch, message.revision)
            case protocol.BatchAck():
                self._acknowledged_at = self._clock()
            case protocol.Challenges():
                self._holds_challenges = bool(message.entries)
        await self._handler.received(message)

    async def _send(self, message: protocol.AgentMessage) -> None:
        self._outbox.append(message)
        is_next_batch = isinstance(message, protocol.Batch) and self._clock() - self._acknowledged_at < DRAIN_SECONDS
        if is_next_batch or not isinstance(message, _PATIENT):
            self._urgent.set()

    async def _until_next(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds * random.uniform(0.9, 1.1)):  # noqa: S311 - spreads polls
                await self._urgent.wait()
                await asyncio.sleep(min(TOGETHER_SECONDS, self._seconds))  # what comes in a burst goes together
        self._urgent.clear()

    async def _exchange(self) -> list[protocol.GatewayMessage]:
        epoch, revision = self._named
        poll = protocol.Poll(
            interval_seconds=self._seconds, epoch=epoch, revision=revision, holds_challenges=self._holds_challenges
        )
        first = [poll, self._handler.hello(), await self._handler.heartbeat()]
        parts, taken = [protocol.encode(message) for message in first], 0
        for message in self._outbox:
            parts.append(protocol.encode(message))
            if sum(map(len, parts)) > protocol.POLL_BYTES_MAX - protocol.AGENT_MESSAGE_BYTES_MAX:
                break
            taken += 1
        if taken < len(self._outbox):
            parts = parts[: len(first) + taken]
            self._urgent.set()
        answer = await asyncio.to_thread(post, self._url, self._token, self._tls, b"[" + b",".join(parts) + b"]")
        del self._outbox[:taken]
        try:
            return protocol.poll_answer_decoder.decode(answer)
        except msgspec.DecodeError as error:
            raise PollFailed(f"the answer to a poll is not the gateway's: {error}") from error


def post(url: str, token: str, tls: ssl.SSLContext | None, body: bytes) -> bytes:
    """Send the messages of one poll to the gateway at `url` and return its answer; blocking.

    Raises:
        PollFailed: no answer, or another one than 200.
    """
    parts = urlsplit(url)
    host, path = parts.hostname or "", f"{parts.path}/poll"
    if tls is None:
        connection = http.client.HTTPConnection(host, parts.port, timeout=REQUEST_SECONDS)
    else:
        connection = http.client.HTTPSConnection(host, parts.port, timeout=REQUEST_SECONDS, context=tls)
    headers = {
        "Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept-Encoding": "gzip",
        "Connection": "close",
    }  # fmt: skip
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read(protocol.MESSAGE_BYTES_MAX)
        if answer.status != http.HTTPStatus.OK:
            raise PollFailed(f"the gateway answered a poll with status {answer.status}", answer.status)
        if answer.getheader("Content-Encoding") == "gzip":
            content = zlib.decompressobj(_GZIP).decompress(content, protocol.MESSAGE_BYTES_MAX)
    except (OSError, http.client.HTTPException, zlib.error) as error:
        raise PollFailed(f"cannot poll {parts.hostname}: {error}") from error
    else:
        return content
    finally:
        connection.close()
