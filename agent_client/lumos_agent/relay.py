"""Challenges between the shields of a domain, through the gateway: whichever one DNS points at can answer."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from lumos_agent import protocol
from lumos_agent.challenges import Challenges
from lumos_agent.dns_challenges import DnsChallenges
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)

READY_SECONDS = 10.0

Send = Callable[[protocol.AgentMessage], Awaitable[None]]


class Relay:
    """`send` drops what it is given while there is no connection; an order then relies on this shield alone."""

    def __init__(self, challenges: Challenges, dns: DnsChallenges, send: Send) -> None:
        self._challenges = challenges
        self._dns = dns
        self._send = send
        self._ready: dict[str, asyncio.Event] = {}

    async def publish(self, domain_id: str, token: str, key_authorization: str) -> None:
        """Return when the domain's other connected shields answer the challenge too, or after `READY_SECONDS`."""
        ready = self._ready[token] = asyncio.Event()
        try:
            await self._send(
                protocol.ChallengePublish(domain_id=domain_id, token=token, key_authorization=key_authorization)
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_SECONDS):
                    await ready.wait()
        finally:
            del self._ready[token]

    async def withdraw(self, tokens: tuple[str, ...]) -> None:
        """Let the other shields forget challenges."""
        await self._send(protocol.ChallengesWithdrawn(tokens=tokens))

    async def received(self, message: protocol.Challenges | protocol.ChallengeReady) -> None:
        """Answer the challenges of others and say so; or note that others answer this shield's."""
        if isinstance(message, protocol.Challenges):
            try:
                await self._challenges.set_relayed(message.entries)
                await self._dns.set_relayed(message.entries, message.dns)
            except HaproxyError as error:
                log.warning("challenge_not_relayed", extra={"error": str(error)})
                return
            await self._send(protocol.ChallengesHeld(tokens=tuple(message.entries)))
        elif message.waiting == 0 and (ready := self._ready.get(message.token)) is not None:
            ready.set()
