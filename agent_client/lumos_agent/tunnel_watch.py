"""Tunnels watched: packets follow an origin that changes its way, and the gateway hears how each tunnel does."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from lumos_agent import protocol
from lumos_agent.drivers.wireguard import Wireguard
from lumos_agent.drivers.wireguard_arrivals import Arrivals
from lumos_agent.drivers.wireguard_device import Dump
from lumos_agent.errors import AgentError
from lumos_agent.render.wireguard import Way
from lumos_agent.tunnel import Peer
from lumos_agent.tunnel_doctor import Note, Notes

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
FOLLOW_SECONDS = 0.05
FOLLOW_FOR_SECONDS = 600.0
FOLLOW_LATE_SECONDS = 1.0
NOTED_SECONDS = 60.0
BYTES_SECONDS = 30.0  # how often a tunnel is told of whose bytes alone have changed


class TunnelWatch:
    """`send` drops what it is given while there is no connection."""

    def __init__(
        self,
        wireguard: Wireguard,
        send: Callable[[protocol.AgentMessage], Awaitable[None]],
        note: Callable[[Notes | None], None] = lambda notes: None,
    ) -> None:
        self._wireguard = wireguard
        self._send = send
        self._note = note
        self._arrivals: Arrivals | None = None
        self._handshakes: dict[str, int] = {}
        self._filtered_at = self._refused_at = -NOTED_SECONDS
        self._keys: dict[int, str] = {}
        self._told: dict[str, tuple[protocol.TunnelState, float]] = {}
        self._wanted = asyncio.Event()
        self._look_at = 0.0
        self._changing_since = 0.0

    def tell_all(self) -> None:
        """Tell everything at once, as the gateway may have missed something."""
        self._keys, self._told = {}, {}
        self.look_soon()

    def look_soon(self) -> None:
        """Look now: a configuration was applied."""
        self._look_at = 0.0
        self._wanted.set()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            try:
                await self._wireguard.steer()
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + LOOK_SECONDS
                    await self.look()
            except (AgentError, OSError) as error:
                log.warning("tunnels_unknown", extra={"error": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wanted.wait()
            self._wanted.clear()

    def _pause(self) -> float:
        """Return how long to wait: an origin that is set up by hand may take days to follow."""
        if not self._wireguard.is_changing:
            self._changing_since = 0.0
            return LOOK_SECONDS
        now = time.monotonic()
        self._changing_since = self._changing_since or now
        return FOLLOW_SECONDS if now - self._changing_since < FOLLOW_FOR_SECONDS else FOLLOW_LATE_SECONDS

    async def look(self) -> None:
        """Send what changed since the last look."""
        keys, found = await self._wireguard.state()
        now = time.monotonic()
        await self._diagnose(found, now)
        states = [_state(peer, way, runs) for peer, way, runs in found]
        news = [state for state in states if self._is_news(state, now)]
        self._told = {s.tunnel_id: self._told[s.tunnel_id] for s in states if s.tunnel_id in self._told}
        self._told |= {state.tunnel_id: (state, now) for state in news}
        if news or keys != self._keys:
            self._keys = keys
            numbered = tuple(protocol.TunnelKey(number=n, public_key=key) for n, key in sorted(keys.items()))
            await self._send(protocol.TunnelReport(keys=numbered, states=tuple(news)))

    async def _diagnose(self, found: list[tuple[Peer, Way, Dump]], now: float) -> None:
        """Note for the doctor what WireGuard does not say: what became of the handshakes that origins began."""
        if (ends := self._wireguard.ends) is None:
            self._note(None)
            return
        every = {key: peer for _, _, runs in found for key, peer in runs.peers.items()}
        shaken = sum(peer.handshake > self._handshakes.get(key, 0) for key, peer in every.items())
        self._handshakes = {key: peer.handshake for key, peer in every.items()}
        seen, before = await self._wireguard.arrivals(), self._arrivals
        self._arrivals = seen
        if seen is not None and before is not None and seen.admitted >= before.admitted:
            admitted = seen.admitted - before.admitted
            if seen.arrived - before.arrived > admitted:
                self._filtered_at = now
            if admitted > shaken:
                self._refused_at = now
        states = [(peer, _state(peer, way, runs)) for peer, way, runs in found]
        tunnels = tuple(Note(peer.name, peer.address, state.handshake_at) for peer, state in states)
        self._note(
            Notes(
                interfaces=self._wireguard.interfaces(),
                ports=tuple(interface.port for interface in ends.interfaces),
                mtu=ends.mtu,
                counts=seen is not None,
                filtered=now - self._filtered_at < NOTED_SECONDS,
                refused=now - self._refused_at < NOTED_SECONDS,
                tunnels=tunnels,
            )
        )

    def _is_news(self, state: protocol.TunnelState, now: float) -> bool:
        if state.tunnel_id not in self._told:
            return True
        before, at = self._told[state.tunnel_id]
        same_way = (before.number, before.public_key, before.handshake_at) == (
            state.number,
            state.public_key,
            state.handshake_at,
        )
        return not same_way or (before != state and now - at >= BYTES_SECONDS)


def _state(peer: Peer, way: Way, runs: Dump) -> protocol.TunnelState:
    number, key = way
    seen = runs.peers.get(key)
    if seen is None:
        return protocol.TunnelState(tunnel_id=peer.tunnel_id, number=number, public_key=key)
    return protocol.TunnelState(
        tunnel_id=peer.tunnel_id,
        number=number,
        public_key=key,
        handshake_at=seen.handshake,
        received_bytes=seen.received_bytes,
        sent_bytes=seen.sent_bytes,
    )
