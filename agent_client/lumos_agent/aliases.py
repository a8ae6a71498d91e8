"""Where the targets of aliases are: each shield looks them up itself, so that answers go on without a control plane."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from lumos_agent.config import write_atomically
from lumos_agent.dns import NoAnswer, Resolver
from lumos_agent.errors import AgentError
from lumos_agent.schema import Snapshot

log = logging.getLogger(__name__)

LOOKUP_SECONDS = 30.0
ADDRESSES_MAX = 30
AT_ONCE = 20

Found = Mapping[str, tuple[str, ...]]


class Aliases:
    """Remembers {target: addresses} in `path` over restarts; what nobody can say at the moment stays as it was."""

    def __init__(
        self,
        path: Path,
        resolver: Resolver,
        snapshot: Callable[[], Snapshot | None],
        changed: Callable[[Found], Awaitable[None]],
    ) -> None:
        self._path = path
        self._resolver = resolver
        self._snapshot = snapshot
        self._changed = changed
        self._wanted = asyncio.Event()

    def known(self) -> dict[str, tuple[str, ...]]:
        """Return what was found last."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, tuple[str, ...]])
        except (OSError, msgspec.DecodeError):
            return {}

    def look(self) -> None:
        """Look targets up now, because there may be others."""
        self._wanted.set()

    async def run(self) -> None:
        """Keep the addresses as new as their names."""
        while True:
            try:
                await self.update()
            except (AgentError, OSError) as error:
                log.error("aliases_not_updated", extra={"error": str(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), LOOKUP_SECONDS)
            self._wanted.clear()

    async def update(self) -> None:
        """Look all targets up once."""
        snapshot = self._snapshot()
        targets = sorted({alias.target for zone in snapshot.zones for alias in zone.aliases}) if snapshot else []
        before, gate = self.known(), asyncio.Semaphore(AT_ONCE)
        found = await asyncio.gather(*(self._addresses(target, before.get(target, ()), gate) for target in targets))
        after = dict(zip(targets, found, strict=True))
        if after != before:
            write_atomically(self._path, msgspec.json.encode(after, order="deterministic"))
        if after or before:
            await self._changed(after)

    async def _addresses(self, target: str, before: tuple[str, ...], gate: asyncio.Semaphore) -> tuple[str, ...]:
        found: list[str] = []
        for version in (4, 6):
            try:
                async with gate:
                    found += await self._resolver.addresses(target.removesuffix("."), version=version)
            except NoAnswer:
                found += [address for address in before if (":" in address) == (version == 6)]
        return tuple(sorted(set(found))[:ADDRESSES_MAX])
