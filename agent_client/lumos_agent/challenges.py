"""Answers to HTTP-01 challenges (RFC 8555, 8.3) that HAProxy gives: this shield's own, and those relayed to it.

They live in a map of the run directory, outside the generations: a challenge is no part of the configuration.
"""

import asyncio
import re

from lumos_agent.config import State, write_atomically
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError

_TOKEN = re.compile(r"\A[A-Za-z0-9_-]{1,128}\Z")
_AUTHORIZATION = re.compile(r"\A[A-Za-z0-9_-]{1,128}\.[A-Za-z0-9_-]{1,128}\Z")


def is_challenge(token: str, key_authorization: str) -> bool:
    """Whether both are base64url as RFC 8555 (8.1) demands, so that neither can be anything else in a command."""
    return bool(_TOKEN.match(token) and _AUTHORIZATION.match(key_authorization))


class Challenges:
    """The map; its file and the running worker always say the same."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._own: dict[str, str] = {}
        self._relayed: dict[str, str] = {}
        self._writing = asyncio.Lock()

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
        """Replace the whole map, on disk and in the worker, in one step each (management guide, 9.3, `commit map`)."""
        async with self._writing:
            wanted = sorted((self._relayed | self._own).items())
            path = self._state.challenges_map
            write_atomically(path, "".join(f"{t} {a}\n" for t, a in wanted).encode(), durable=False)
            session = await cli.Session.open(self._state.worker_socket)
            try:
                prepared = await session.command(f"prepare map {path}")
                version = prepared.rpartition(":")[2].strip()
                if not version.isdigit():
                    raise HaproxyError(f"challenge map: {prepared.strip()}")
                commands = [f"add map @{version} {path} {token} {text}" for token, text in wanted]
                for command in (*commands, f"commit map @{version} {path}"):
                    if answer := (await session.command(command)).strip():
                        raise HaproxyError(f"challenge map: {answer}")
            finally:
                await session.close()
