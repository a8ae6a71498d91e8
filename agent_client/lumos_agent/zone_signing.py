"""What signed zones need between two configurations: new signatures every day, and word of the keys to the gateway."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from lumos_agent import protocol
from lumos_agent.config import write_atomically
from lumos_agent.drivers.knot import Knot
from lumos_agent.errors import AgentError

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
AGAIN_SECONDS = 86_400.0


class ZoneSigning:
    """`send` drops what it is given without a connection; `noted` is a file whose time is the last signing's."""

    def __init__(self, knot: Knot, send: Callable[[protocol.AgentMessage], Awaitable[None]], noted: Path) -> None:
        self._knot = knot
        self._send = send
        self._noted = noted

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look(time.time())
            except (AgentError, OSError) as error:
                log.error("zones_not_signed", extra={"error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, now: float) -> None:
        """Tell keys until the zones have them, and sign again what is due at `now` (Unix seconds)."""
        zones = self._knot.signed_zones()
        unknown = [(zone, key) for zone, key in zones if key not in {server.key for server in zone.nameservers}]
        if unknown:
            said = tuple(protocol.ZoneKey(zone_id=zone.id, public_key=key) for zone, key in unknown)
            await self._send(protocol.ZoneKeys(keys=said))
        if zones and not 0 <= now - self._signed_at() < AGAIN_SECONDS:
            await self._knot.sign_again([zone for zone, _ in zones])
            write_atomically(self._noted, b"")

    def _signed_at(self) -> float:
        try:
            return self._noted.stat().st_mtime
        except FileNotFoundError:
            return 0.0
