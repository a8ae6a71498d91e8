"""May a certificate be ordered? The control plane counts the orders of all shields against the CA's limits.

Whoever cannot ask it relies on what this shield ordered itself, so that renewals go on without a control plane.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from lumos_agent import protocol
from lumos_agent.errors import CertificateRefused

ANSWER_SECONDS = 10.0
WEEK_SECONDS = 7 * 86_400
# For one name, and for all names of this shield.
OWN_ORDERS_MAX, OWN_ORDERS_OF_ALL_MAX = 3, 20

Ask = Callable[[str], Awaitable[protocol.OrderAnswer | None]]


class Budget:
    """Questions and answers; `send` drops what it is given while there is no connection."""

    def __init__(self, send: Callable[[protocol.AgentMessage], Awaitable[None]]) -> None:
        self._send = send
        self._asked: dict[str, asyncio.Future[protocol.OrderAnswer]] = {}

    async def ask(self, domain_id: str) -> protocol.OrderAnswer | None:
        """Return the control plane's answer, or None if there is none in time."""
        answer: asyncio.Future[protocol.OrderAnswer] = asyncio.get_running_loop().create_future()
        self._asked[domain_id] = answer
        try:
            await self._send(protocol.OrderWanted(domain_id=domain_id))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._asked[domain_id]

    def received(self, answer: protocol.OrderAnswer) -> None:
        """Hand an answer to whoever waits for it."""
        if (waiting := self._asked.get(answer.domain_id)) is not None and not waiting.done():
            waiting.set_result(answer)


def refuse_beyond_own(of_name: Iterable[float], of_all: Iterable[float]) -> None:
    """Return if this shield may order without having been told so; times of orders are Unix seconds.

    Raises:
        CertificateRefused: it ordered enough within a week.
    """
    since = time.time() - WEEK_SECONDS
    for times, most in ((of_name, OWN_ORDERS_MAX), (of_all, OWN_ORDERS_OF_ALL_MAX)):
        recent = sorted(at for at in times if at > since)
        if len(recent) >= most:
            raise CertificateRefused(
                f"Held back: the control plane cannot be asked whether the CA's limits leave room, and this shield "
                f"ordered {len(recent)} certificates by itself within a week. It asks again when it is connected.",
            )
