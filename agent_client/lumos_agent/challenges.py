"""Answers to HTTP-01 challenges (RFC 8555, 8.3) that HAProxy gives: this shield's own, and those relayed to it.

They live in a map of the run directory, outside the generations: a challenge is no part of the configuration.
"""

import logging
import re

from lumos_agent.config import State, write_atomically
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)

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
        self._written: dict[str, str] = {}

    async def reset(self) -> None:
        """Begin with an empty map."""
        write_atomically(self._state.challenges_map, b"", durable=False)

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

    async def _write(self) -> None:
        wanted = self._relayed | self._own
        path = self._state.challenges_map
        write_atomically(path, "".join(f"{t} {a}\n" for t, a in sorted(wanted.items())).encode(), durable=False)
        commands = [f"del map {path} {token}" for token in self._written.keys() - wanted.keys()]
        for token, text in wanted.items():
            if self._written.get(token) != text:
                commands.append(f"{'set' if token in self._written else 'add'} map {path} {token} {text}")
        self._written = wanted
        if commands:
            answer = (await cli.ask(self._state.worker_socket, commands)).strip()
            if answer:
                raise HaproxyError(f"challenge map: {answer}")
