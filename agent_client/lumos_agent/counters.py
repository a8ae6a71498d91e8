"""HAProxy's counters per domain, cumulative per worker, read through sessions that outlive a reload.

A session belongs to one worker. While it is open the worker stays, even after a reload replaced it; so its last
requests are counted before it is let go. A worker that is killed takes its counters along: what it answered after they
were last read is in the pipe of answers.
"""

import contextlib
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from lumos_agent.config import State
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError
from lumos_agent.show_stat import stat_rows
from lumos_agent.timings import Timings, add_timings

log = logging.getLogger(__name__)

Counts = tuple[int, ...]
FIELDS = (
    "bytes_in", "bytes_out", "blocked", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "other",
)  # fmt: skip
_COLUMNS = ("bin", "bout", "dreq", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
_BACKEND = "d-"
_NOTHING = {"", "0"}
_ID_CHARACTERS = 36
_PIPE_BYTES = 1024 * 1024
ZERO: Counts = (0,) * len(FIELDS)
_STATUS = {str(n).encode(): FIELDS.index(f"status_{n}xx") for n in range(1, 6)}
_STOPPED = (b"block", b"limit", b"challenge")
_ANSWER = re.compile(
    rb"answer (?P<pid>\d+) (?P<date>\d+) d-(?P<domain>[0-9a-f-]{36})(?:-r\d+)? (?P<status>-?\d+) "
    rb"(?P<uploaded>\d+) (?P<sent>\d+)(?:/-?\d+/-?\d+/-?\d+/(?P<each>\d*)-?)? (?P<action>\S+)"
)


def parse_stat(text: str) -> dict[str, Counts]:
    """Return {domain id: counts} from `show stat` (management guide, 9.1), for domains that saw anything."""
    result: dict[str, Counts] = {}
    for (name, *texts), _ in stat_rows(text, ("pxname", *_COLUMNS)):
        if name.startswith(_BACKEND) and not _NOTHING.issuperset(texts):
            domain_id = name.removeprefix(_BACKEND)[:_ID_CHARACTERS]
            result[domain_id] = _sum(result.get(domain_id, ZERO), tuple(int(text or 0) for text in texts))
    return result


def parse_info(text: str) -> dict[str, str]:
    """Return {name: value} from `show info`."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def answered_after(log_lines: bytes, pid: str, microseconds: int) -> dict[str, Counts]:
    """Return {domain id: counts} of what `pid` answered after a Unix time (log-format in haproxy.cfg.j2).

    Samples of a shield under full load are left out: what is counted was served.
    """
    sums: dict[str, list[int]] = {}
    for line in _ANSWER.finditer(log_lines):
        if line["pid"] == pid.encode() and int(line["date"]) > microseconds and not line["each"]:
            total = sums.setdefault(line["domain"].decode(), [0] * len(FIELDS))
            total[FIELDS.index("bytes_in")] += int(line["uploaded"])
            total[FIELDS.index("bytes_out")] += int(line["sent"])
            total[FIELDS.index("blocked")] += line["action"] in _STOPPED
            total[_STATUS.get(line["status"][:1], FIELDS.index("other"))] += 1
    return {domain_id: tuple(total) for domain_id, total in sums.items()}


def _sum(first: Counts, second: Counts) -> Counts:
    return tuple(a + b for a, b in zip(first, second, strict=True))


class Answers:
    """The end of the pipe of answers: what was logged around and after the last reading of the counters.

    `timings` adds up what all lines say of times, until somebody takes it.
    """

    def __init__(self, fifo: Path) -> None:
        self._fifo = fifo
        self._pipe: int | None = None
        self._latest = b""
        self.timings: Timings = {}

    def drain(self) -> bytes:
        """Return what the pipe holds."""
        if self._pipe is None:
            if not self._fifo.is_fifo():
                return b""
            self._pipe = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._pipe, _PIPE_BYTES):
                parts.append(part)
        lines = b"".join(parts)
        add_timings(lines, self.timings)
        return lines

    def forget_older(self) -> None:
        """Note that the counters were read just now."""
        self._latest = self.drain()

    def since_last_read(self) -> bytes:
        """Return the log lines since, and some from before."""
        self._latest += self.drain()
        return self._latest


class Worker:
    """One worker as its session sees it."""

    def __init__(self, session: cli.Session, info: dict[str, str]) -> None:
        self.key = _key_of(info)
        self.session = session
        self.info = info
        self._read_at = _moment_of(info)
        self.counts: dict[str, Counts] = {}
        self._quiet_at = ""
        self.is_retiring = False
        self.is_finished = False

    async def read(self) -> None:
        """Read the counters and the moment that they are of: both or neither.

        A worker that had no visitor when it was read, and none since, has the same counters.

        Raises:
            HaproxyError: the worker has gone.
        """
        before = time.time()
        info = parse_info(await self.session.command("show info float")) if self._quiet_at else {}
        if info and _quiet(info) == self._quiet_at:
            self.info = info
        else:
            text, stat = await self.session.commands("show info float", "show stat -1 2 -1")
            self.info, self.counts = parse_info(text), parse_stat(stat)
            self._quiet_at = _quiet(self.info)
        # A starved worker's uptime falls behind the wall clock, by which its log lines are dated.
        self._read_at = min(max(_moment_of(self.info), before), time.time())

    async def read_if_drained(self) -> None:
        """Read the counters once nobody is served any more: they are the last ones.

        Raises:
            HaproxyError: the worker has gone.
        """
        self.info = parse_info(await self.session.command("show info float"))
        if self.has_drained():
            await self.read()

    def finish(self, log_lines: bytes) -> None:
        """Count what a worker that has gone answered after it was last read."""
        self.is_finished = True
        rest = answered_after(log_lines, self.info["Pid"], round(self._read_at * 1e6))
        self.counts = self.counts | {
            domain_id: _sum(self.counts.get(domain_id, ZERO), more) for domain_id, more in rest.items()
        }

    def has_drained(self) -> bool:
        """Whether a retiring worker serves nobody any more but this session."""
        return self.is_retiring and self.info.get("Stopping") == "1" and _visitors(self.info) == 0


def _moment_of(info: dict[str, str]) -> float:
    """Return when a worker says that it wrote `show info float`, a Unix time."""
    return float(info["Start_time_sec"]) + float(info["Uptime_sec"])


def _quiet(info: dict[str, str]) -> str:
    """Return how many connections and requests a worker has had if it serves nobody now, else nothing."""
    return "" if _visitors(info) else f"{info['CumConns']} {info['CumReq']}"


def _visitors(info: dict[str, str]) -> int:
    """Return the connections of visitors: the CLI's are in CurrConns too."""
    return int(info.get("CurrConns", "0"))


class Workers:
    """All workers that hold uncounted requests: the current one and those that end."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._answers = Answers(state.answers_fifo)
        self.all: list[Worker] = []

    def take_timings(self) -> Timings:
        """Return how long answers took that were logged since the last call."""
        taken, self._answers.timings = self._answers.timings, {}
        return taken

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
        info = parse_info(await session.command("show info float"))
        if (known := next((w for w in self.all if w.key == _key_of(info)), None)) is not None:
            await session.close()
            return known
        worker = Worker(session, info)
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
        await self._each(self.all, Worker.read)
        self._answers.forget_older()

    async def read_drained(self) -> None:
        """Read the counters of replaced workers that serve nobody any more."""
        await self._each([worker for worker in self.all if worker.is_retiring], Worker.read_if_drained)

    async def _each(self, workers: Iterable[Worker], call: Callable[[Worker], Awaitable[None]]) -> None:
        for worker in workers:
            if not worker.is_finished:
                try:
                    await call(worker)
                except HaproxyError:
                    self.finish(worker)

    def finish(self, worker: Worker) -> None:
        """Note that a worker has gone."""
        if not worker.is_finished:
            worker.finish(self._answers.since_last_read())

    async def release(self, workers: Iterable[Worker]) -> None:
        """Let workers go whose last counts are safe on disk."""
        for worker in workers:
            await worker.session.close()
            self.all.remove(worker)


def _key_of(info: dict[str, str]) -> str:
    """Return a worker's identity: its start time too, so that a pid that is used again is another worker."""
    return f"{info['Pid']}:{info['Start_time_sec']}"
