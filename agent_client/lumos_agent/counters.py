"""HAProxy's counters per domain, cumulative per worker, read through sessions that outlive a reload.

A session belongs to one worker. While it is open the worker stays, even after a reload replaced it; so its last
requests are counted before it is let go.
"""

import csv
import io
import logging
from collections.abc import Iterable

from lumos_agent.config import State
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)

Counts = tuple[int, ...]
FIELDS = (
    "bytes_in", "bytes_out", "blocked", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "other",
)  # fmt: skip
_COLUMNS = ("bin", "bout", "dreq", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
_BACKEND = "d-"
ZERO: Counts = (0,) * len(FIELDS)


def parse_stat(text: str) -> dict[str, Counts]:
    """Return {domain id: counts} from `show stat` (management guide, 9.1), for domains that saw anything."""
    result: dict[str, Counts] = {}
    for row in csv.DictReader(io.StringIO(text.removeprefix("# "))):
        if row["pxname"].startswith(_BACKEND):
            counts = tuple(int(row[column] or 0) for column in _COLUMNS)
            if any(counts):
                result[row["pxname"].removeprefix(_BACKEND)] = counts
    return result


def parse_info(text: str) -> dict[str, str]:
    """Return {name: value} from `show info`."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


class Worker:
    """One worker as its session sees it."""

    def __init__(self, key: str, session: cli.Session, info: dict[str, str]) -> None:
        self.key = key
        self.session = session
        self.info = info
        self.counts: dict[str, Counts] = {}
        self.is_retiring = False
        self.is_finished = False

    async def read(self) -> None:
        """Read the counters; a worker that has gone is finished with what was last read."""
        try:
            self.counts = parse_stat(await self.session.command("show stat -1 2 -1"))
            if self.is_retiring:
                self.info = parse_info(await self.session.command("show info"))
        except HaproxyError:
            self.is_finished = True

    def has_drained(self) -> bool:
        """Whether a retiring worker serves nobody any more but this session."""
        return self.is_retiring and self.info.get("Stopping") == "1" and _visitors(self.info) == 0


def _visitors(info: dict[str, str]) -> int:
    """Return the connections of visitors: the CLI's are in CurrConns too."""
    return int(info.get("CurrConns", "0"))


class Workers:
    """All workers that hold uncounted requests: the current one and those that end."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.all: list[Worker] = []

    @property
    def current(self) -> Worker | None:
        """The worker that takes new connections."""
        return next((w for w in self.all if not w.is_retiring and not w.is_finished), None)

    def has_retiring(self) -> bool:
        """Whether a worker that was replaced is still there."""
        return any(worker.is_retiring for worker in self.all)

    async def attach(self) -> Worker:
        """Open a session to the worker that answers now, unless there is one.

        Raises:
            HaproxyError: no worker answers.
        """
        if (known := self.current) is not None and not known.session.is_closed():
            return known
        session = await cli.Session.open(self._state.worker_socket)
        info = parse_info(await session.command("show info"))
        key = f"{info['Pid']}:{_start_of(info)}"
        if (known := next((w for w in self.all if w.key == key), None)) is not None:
            await session.close()
            return known
        worker = Worker(key, session, info)
        self.all.append(worker)
        return worker

    async def retire(self) -> None:
        """Note that the current worker is about to be replaced; called right before every reload."""
        try:
            worker = await self.attach()
        except HaproxyError:
            return
        worker.is_retiring = True

    async def read(self) -> None:
        """Read all counters."""
        for worker in self.all:
            if not worker.is_finished:
                await worker.read()

    async def release(self, workers: Iterable[Worker]) -> None:
        """Let workers go whose last counts are safe on disk."""
        for worker in workers:
            await worker.session.close()
            self.all.remove(worker)


def _start_of(info: dict[str, str]) -> str:
    """Return the start time of a worker in Unix seconds, so that a pid that is used again is another worker."""
    return info.get("Start_time_sec", "0")
