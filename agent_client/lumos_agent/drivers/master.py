"""A HAProxy in master-worker mode: started detached, told through the master CLI (management guide, 9.4)."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
from msgspec import Struct

from lumos_agent.config import write_atomically
from lumos_agent.drivers import cli
from lumos_agent.errors import ConnectionLost, HaproxyError, NotListening

READY_SECONDS = 20.0
MASTER_SECONDS = 3.0
POLL_SECONDS = 0.01

_MASTER = re.compile(r"(?m)^\d+\s+master\s+(\d+) \[failed: (\d+)\]")  # the row of `show proc`


class _Reloads(NamedTuple):
    """How often a master was told to reload, and how often that failed."""

    total: int
    failed: int


class Master(Struct, frozen=True):
    """Identity of the master process: a pid alone may be somebody else's after a reboot."""

    pid: int
    started: str


def _start_time(pid: int) -> str | None:
    """Return the kernel's start time of a live process (proc(5), stat field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class MasterProcess:
    """The master that `pid_file` names; it listens on `socket`, writes to `log` and runs what is in `folder`."""

    def __init__(self, pid_file: Path, socket: Path, log: Path, folder: Path) -> None:
        self._pid_file = pid_file
        self._socket = socket
        self._log = log
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def running(self) -> Master | None:
        """Return the running master, or None."""
        try:
            known = msgspec.json.decode(self._pid_file.read_bytes(), type=Master)
        except (OSError, msgspec.DecodeError):
            return None
        return known if _start_time(known.pid) == known.started else None

    def start(
        self, cfg: Path, *, stdout: int, stderr: IO[bytes], env: Mapping[str, str], pass_fds: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        """Start a master that outlives the agent, and remember it."""
        self._child = subprocess.Popen(  # noqa: S603 - argv is ours
            ["haproxy", "-W", "-S", f"{self._socket},mode,600", "-f", str(cfg)],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **env},
            pass_fds=pass_fds,
            start_new_session=True,
        )
        started = _start_time(self._child.pid) or ""
        write_atomically(self._pid_file, msgspec.json.encode(Master(self._child.pid, started)))
        return self._child

    def stop(self) -> bool:
        """End master and workers at once, without waiting; False if none ran."""
        if (master := self.running()) is None:
            return False
        os.kill(master.pid, signal.SIGTERM)
        return True

    async def end(self) -> None:
        """Make sure that no master is left, as one whose worker died ends by itself a moment later."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None and (master := self.running()) is not None:
                os.kill(master.pid, number)
            for _ in range(50):
                if self._child is not None:
                    self._child.poll()
                if self.running() is None:
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def reload(self) -> None:
        """Make the master execute itself anew; returns when it has, a moment before its worker answers.

        Raises:
            HaproxyError: the new worker did not come up; the old one goes on.
        """
        before = await self._reloads()
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        await self._ask("reload")
        while (now := await self._reloads()).total == before.total:
            if asyncio.get_running_loop().time() > deadline:
                raise HaproxyError(f"the master does not reload: {self.last_words()}")
            await asyncio.sleep(POLL_SECONDS)
            await self._ask("reload")
        if now.failed > before.failed:
            raise HaproxyError(f"HAProxy did not load it: {self.last_words()}")

    async def _reloads(self) -> _Reloads:
        """Return the master's counts: a command that reached it while it executed itself anew did nothing."""
        table = await self._ask("show proc")
        if (found := _MASTER.search(table)) is None:
            raise HaproxyError(f"the master's list of processes is not understood: {table[:200]!r}")
        return _Reloads(*map(int, found.groups()))

    async def _ask(self, command: str) -> str:
        """Ask the master. While it executes itself anew, right after a reload, nobody listens for a moment.

        That also resets the connection that asked for the reload; whether it comes about, the count tells.
        """
        deadline = asyncio.get_running_loop().time() + MASTER_SECONDS
        while True:
            try:
                return await cli.ask(self._socket, [command])
            except ConnectionLost:
                if command == "reload":
                    return ""
                if asyncio.get_running_loop().time() > deadline:
                    raise
            except NotListening:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def answers(self) -> bool:
        """Whether the master listens: it opens its socket a moment after its first worker answers."""
        try:
            await cli.ask(self._socket, ["show proc"])
        except HaproxyError:
            return False
        return True

    async def worker_generations(self) -> int:
        """Return how many worker generations are alive, by the master's list of processes."""
        table = await self._ask("show proc")
        return sum(len(fields := line.split()) > 1 and fields[1] == "worker" for line in table.splitlines())

    def last_words(self) -> str:
        """Return the end of what HAProxy wrote to stderr."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - 2000, 0))
                return readable(file.read().decode(errors="replace"), self._folder)
        except OSError:
            return "(no log)"


def readable(output: str, folder: Path) -> str:
    """Return HAProxy's alerts without process ids and paths."""
    lines = [line for line in output.splitlines() if line.startswith(("[ALERT]", "[WARNING]", "  |", "  '"))]
    alerts = [line for line in lines if line.startswith("[ALERT]")] or lines or output.splitlines()[-5:]
    text = "\n".join(line.partition(" : ")[2] or line for line in alerts)
    return text.replace(f"{folder}/", "").strip()[:8000]
