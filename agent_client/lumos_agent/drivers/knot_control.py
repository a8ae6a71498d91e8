"""A running knotd is told through its control socket."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lumos_agent.errors import ApplyError
from lumos_agent.runner import run
from lumos_agent.zone import Zone

COMMAND_SECONDS = 60.0
NAMED_MAX = 200  # zones that one command names; more are meant by naming none


class KnotControl:
    """knotc at one socket; `last_words` returns the end of knotd's log."""

    def __init__(self, socket: Path, last_words: Callable[[], str]) -> None:
        self._socket = socket
        self._last_words = last_words

    async def answers(self) -> bool:
        """Whether knotd is there."""
        code, _ = await run(["knotc", "-s", str(self._socket), "status"], timeout_seconds=COMMAND_SECONDS)
        return code == 0

    async def reload(self) -> None:
        """Let knotd read its configuration again, the modules' too.

        Raises:
            ApplyError: it refuses.
        """
        await self._command("reload")

    async def read_zones(self, zones: Sequence[Zone]) -> None:
        """Let knotd read zones again, and sign anew those that it signs.

        Raises:
            ApplyError: it refuses.
        """
        if zones:
            names = [zone.name for zone in zones] if len(zones) <= NAMED_MAX else []
            await self._command("-b", "zone-reload", *names)

    async def _command(self, *words: str) -> None:
        argv = ["knotc", "-s", str(self._socket), "-t", str(int(COMMAND_SECONDS)), *words]
        code, said = await run(argv, timeout_seconds=2 * COMMAND_SECONDS)
        if code:
            raise ApplyError("reload", f"knotd refuses: {said[-2000:]} {self._last_words()}")
