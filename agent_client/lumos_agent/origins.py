"""How origins do, as HAProxy's checks see them: told to the gateway when it changes, and whole after a reconnect."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

from lumos_agent import protocol
from lumos_agent.counters import Workers
from lumos_agent.errors import HaproxyError
from lumos_agent.show_stat import stat_rows, texts_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
LOOK_SHARE = 600  # looking may take one part in this many of the CPU
_REASON_CHARACTERS = 300
_SERVER = "o-"
_COLUMNS = ("svname", "status", "lastchg", "check_status")
_WORDS = ("check_code", "last_chk", "check_desc")
_STATES: dict[str, Literal["up", "down", "maintenance", "unchecked"]] = {
    "UP": "up",
    "NOLB": "up",
    "DRAIN": "up",
    "DOWN": "down",
    "MAINT": "maintenance",
    "no": "unchecked",
}


def parse_states(text: str, now: float) -> Iterator[protocol.OriginState]:
    """Yield the states of origins from `show stat` (management guide, 9.1). `now` and `since` are Unix seconds."""
    for (name, status, seconds, check), row in stat_rows(text, _COLUMNS):
        state = _STATES.get(status.partition(" ")[0])
        if not name.startswith(_SERVER) or state is None:
            continue
        reason = ""
        if status == "MAINT (resolution)":
            state, reason = "down", "Its name cannot be resolved."
        elif check == "INI":
            state = "unchecked"
        elif state == "down":
            code, answer, words = texts_of(text, row, _WORDS)
            reason = ": ".join(filter(None, (words, f"{code} {answer}".strip())))
        yield protocol.OriginState(
            origin_id=name.removeprefix(_SERVER),
            state=state,
            reason=reason[:_REASON_CHARACTERS],
            since=max(now - int(seconds or 0), 0.0),
        )


class OriginWatch:
    """Looks every `LOOK_SECONDS`. `send` drops what it is given while there is no connection."""

    def __init__(self, workers: Workers, send: Callable[[protocol.AgentMessage], Awaitable[None]]) -> None:
        self._workers = workers
        self._send = send
        self._told: dict[str, tuple[str, str]] = {}
        self._is_new_connection = asyncio.Event()

    def tell_all(self) -> None:
        """Tell everything at once, as the gateway may have missed something."""
        self._told.clear()
        self._is_new_connection.set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            began = time.process_time()
            try:
                await self.look()
            except HaproxyError as error:
                log.warning("origins_unknown", extra={"error": str(error)})
            pause = max(LOOK_SECONDS, (time.process_time() - began) * LOOK_SHARE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._is_new_connection.wait()
            self._is_new_connection.clear()

    async def look(self) -> None:
        """Send what changed since the last look; an origin that came back after it was gone is new."""
        worker = await self._workers.attach()
        states = list(parse_states(await worker.session.command("show stat -1 4 -1"), time.time()))
        changed = [state for state in states if self._told.get(state.origin_id) != (state.state, state.reason)]
        self._told = {state.origin_id: (state.state, state.reason) for state in states}
        for start in range(0, len(changed), protocol.ORIGINS_MAX):
            await self._send(protocol.Origins(states=tuple(changed[start : start + protocol.ORIGINS_MAX])))
