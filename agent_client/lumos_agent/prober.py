"""The shield as a vantage point: it probes other shields, tells the gateway what changed, and answers probes itself."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from lumos_agent import protocol
from lumos_agent.config import State, write_atomically
from lumos_agent.drivers.served_map import ServedMap
from lumos_agent.errors import HaproxyError
from lumos_agent.probes import Seen, Target, probe, targets_of
from lumos_agent.verdict import SLOW_SECONDS, Sight, Streak, after

log = logging.getLogger(__name__)

KEY_NAME = "key"
PROBE_SECONDS = 5.0
QUICK_SECONDS = 1.0  # while a result is not settled
_JITTER = 0.2


class Prober:
    """Probes the peers that the gateway named last, also when it is gone, and tells what changed.

    `send` drops what it is given while there is no connection.
    """

    def __init__(self, state: State, send: Callable[[protocol.AgentMessage], Awaitable[None]]) -> None:
        self._file: Path = state.peers_file
        self._map_file = state.alive_map
        self._map = ServedMap(state.alive_map, state.worker_socket)
        self._send = send
        self._peers = protocol.Peers(key="")
        self._streaks: dict[Target, Streak] = {}
        self._seen: dict[Target, Seen] = {}
        self._told: dict[Target, protocol.ProbeResult] = {}
        self._wake = asyncio.Event()
        self._load()

    def _load(self) -> None:
        """Go on with what was named before this agent started; HAProxy reads the map when it starts."""
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            self._peers = msgspec.json.decode(self._file.read_bytes(), type=protocol.Peers)
        entries = "".join(f"{name} {key}\n" for name, key in self._entries().items())
        write_atomically(self._map_file, entries.encode(), durable=False)

    def _entries(self) -> dict[str, str]:
        return {KEY_NAME: self._peers.key} if self._peers.key else {}

    async def use(self, peers: protocol.Peers) -> None:
        """Answer with this key and probe these peers from now on."""
        if peers != self._peers:
            self._peers = peers
            write_atomically(self._file, msgspec.json.encode(peers))
        await self.refresh()
        self.tell_all()

    async def refresh(self) -> None:
        """Tell a worker that may have read the map while it was being written."""
        try:
            await self._map.put(self._entries())
        except HaproxyError as error:
            log.warning("alive_key_not_served", extra={"error": str(error)})

    def tell_all(self) -> None:
        """Tell everything at once, as the gateway may have missed something."""
        self._told.clear()
        self._wake.set()

    def peers(self) -> tuple[protocol.Peer, ...]:
        """Return whom this shield probes."""
        return self._peers.peers

    def sights(self, own: str) -> list[Sight]:
        """Return what is settled, as seen by this shield, whose id is `own`."""
        return [
            Sight(vantage=own, address=target.address, is_ok=streak.is_ok, reason=seen.reason, seconds=seen.seconds)
            for target, streak in self._streaks.items()
            if streak.is_ok is not None and (seen := self._seen.get(target)) is not None
        ]

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            await self.round()
            is_settled = all(streak.is_settled for streak in self._streaks.values())
            pause = PROBE_SECONDS * random.uniform(1 - _JITTER, 1) if is_settled else QUICK_SECONDS  # noqa: S311
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()

    async def round(self) -> None:
        """Probe every address once, and tell what changed."""
        targets = targets_of(self._peers.peers)
        answers = await asyncio.gather(*map(probe, targets))
        streaks: dict[Target, Streak] = {}
        for target, seen in zip(targets, answers, strict=True):
            if seen is None:
                continue
            streaks[target] = after(self._streaks.get(target, Streak()), seen.is_ok)
            if streaks[target].is_ok == seen.is_ok:
                self._seen[target] = seen
        self._streaks = streaks
        self._seen = {target: seen for target, seen in self._seen.items() if target in streaks}
        await self._tell()

    async def _tell(self) -> None:
        results = {target: self._result(target) for target in self._seen}
        news = [result for target, result in results.items() if not _is_same(result, self._told.get(target))]
        self._told = results
        for start in range(0, len(news), protocol.PROBES_MAX):
            await self._send(protocol.Probes(results=tuple(news[start : start + protocol.PROBES_MAX])))

    def _result(self, target: Target) -> protocol.ProbeResult:
        seen = self._seen[target]
        return protocol.ProbeResult(
            server_id=target.server,
            address=target.address,
            is_ok=seen.is_ok,
            reason=seen.reason,
            seconds=seen.seconds,
        )


def _is_same(result: protocol.ProbeResult, told: protocol.ProbeResult | None) -> bool:
    if told is None or (result.is_ok, result.reason) != (told.is_ok, told.reason):
        return False
    return (result.seconds >= SLOW_SECONDS) == (told.seconds >= SLOW_SECONDS)
