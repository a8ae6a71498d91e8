"""Answers to HTTP-01 challenges (RFC 8555, 8.3) that HAProxy gives: this shield's own, and those relayed to it.

They live in a map of the run directory, outside the generations: a challenge is no part of the configuration.
"""

import re

from lumos_agent.config import State
from lumos_agent.drivers.served_map import ServedMap

_TOKEN = re.compile(r"\A[A-Za-z0-9_-]{1,128}\Z")
_AUTHORIZATION = re.compile(r"\A[A-Za-z0-9_-]{1,128}\.[A-Za-z0-9_-]{1,128}\Z")


def is_challenge(token: str, key_authorization: str) -> bool:
    """Whether both are base64url as RFC 8555 (8.1) demands, so that neither can be anything else in a command."""
    return bool(_TOKEN.match(token) and _AUTHORIZATION.match(key_authorization))


class Challenges:
    """The map's entries."""

    def __init__(self, state: State) -> None:
        self._own: dict[str, str] = {}
        self._relayed: dict[str, str] = {}
        self._map = ServedMap(state.challenges_map, state.worker_socket)

    async def add(self, token: str, key_authorization: str) -> None:
        """Answer a challenge of this shield's own order.

        Raises:
            HaproxyError: the worker does not take it.
        """
        self._own[token] = key_authorization
        await self._write()

    async def remove(self, token: str) -> None:
        """Answer no more."""
        self._own.pop(token, None)
        await self._write()

    async def set_relayed(self, entries: dict[str, str]) -> None:
        """Answer exactly these for other shields."""
        self._relayed = {token: text for token, text in entries.items() if is_challenge(token, text)}
        await self._write()

    async def refresh(self) -> None:
        """Tell a worker that may have read the file while it was being written.

        Raises:
            HaproxyError: the worker does not take it.
        """
        await self._write()

    async def _write(self) -> None:
        await self._map.put(self._relayed | self._own)
