"""Answers to DNS-01 challenges (RFC 8555, 8.4) in zones that this shield serves: its own, and relayed ones."""

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping

from lumos_agent.challenges import is_challenge
from lumos_agent.schema import Snapshot

Texts = Mapping[str, tuple[str, ...]]


def challenge_name(hostname: str) -> str:
    """Return where the CA looks for the answer of a hostname or wildcard."""
    return f"_acme-challenge.{hostname.removeprefix('*.')}"


class DnsChallenges:
    """`serve` puts {name: texts} into the zones and returns when they are answered."""

    def __init__(self, snapshot: Callable[[], Snapshot | None], serve: Callable[[Texts], Awaitable[None]]) -> None:
        self._snapshot = snapshot
        self._serve = serve
        self._own: dict[str, tuple[str, str]] = {}
        self._relayed: dict[str, tuple[str, str]] = {}

    def covers(self, hostname: str) -> bool:
        """Whether this shield serves a zone that the answer for a hostname belongs to."""
        snapshot = self._snapshot()
        name = challenge_name(hostname)
        return snapshot is not None and any(name.endswith(f".{zone.name}") for zone in snapshot.zones)

    async def add(self, token: str, hostname: str, key_authorization: str) -> None:
        """Answer a challenge of this shield's own order."""
        self._own[token] = challenge_name(hostname), dns_answer(key_authorization)
        await self._write()

    async def remove(self, token: str) -> None:
        """Answer no more."""
        if self._own.pop(token, None) is not None:
            await self._write()

    async def set_relayed(self, entries: Mapping[str, str], names: Mapping[str, str]) -> None:
        """Answer exactly these for other shields: {token: key authorization}, and {token: hostname} of those by DNS."""
        relayed = {
            token: (challenge_name(names[token]), dns_answer(text))
            for token, text in entries.items()
            if token in names and is_challenge(token, text)
        }
        if relayed != self._relayed:
            self._relayed = relayed
            await self._write()

    async def _write(self) -> None:
        texts: dict[str, tuple[str, ...]] = {}
        for name, text in (*self._relayed.values(), *self._own.values()):
            texts[name] = tuple(sorted({*texts.get(name, ()), text}))
        await self._serve(texts)


def dns_answer(key_authorization: str) -> str:
    """Return the text that answers a challenge."""
    return base64.urlsafe_b64encode(hashlib.sha256(key_authorization.encode()).digest()).decode().rstrip("=")
