"""A daemon that outlives the agent, known again by its process id and start time."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lumos_agent.config import write_atomically
from lumos_agent.errors import AgentError

STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02


class Process(Struct, frozen=True):
    """Identity of a process: a pid alone may be somebody else's after a reboot."""

    pid: int
    started: str


class Detached:
    """The one process that `pid_file` names."""

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file
        self._child: subprocess.Popen[bytes] | None = None

    def running(self) -> Process | None:
        """Return the process, or None."""
        if self._child is not None:
            self._child.poll()
        try:
            known = msgspec.json.decode(self._pid_file.read_bytes(), type=Process)
        except (OSError, msgspec.DecodeError):
            return None
        return known if _start_time(known.pid) == known.started else None

    def start(self, argv: Sequence[str], log: Path) -> None:
        """Start it in a session of its own; what it says goes to `log`.

        Raises:
            AgentError: the program is not installed.
        """
        try:
            with log.open("ab") as output:
                self._child = subprocess.Popen(  # noqa: S603 - argv is ours; the daemon must outlive the agent
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        except FileNotFoundError as error:
            raise AgentError(f"{argv[0]} is not installed; install its package and try again") from error
        started = _start_time(self._child.pid) or ""
        write_atomically(self._pid_file, msgspec.json.encode(Process(self._child.pid, started)))

    async def stop(self) -> bool:
        """End it, and wait until it is gone; False if it did not run."""
        if self.running() is None:
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            if (process := self.running()) is not None:
                os.kill(process.pid, number)
            for _ in range(int(STOP_SECONDS / _POLL_SECONDS)):
                if self.running() is None:
                    break
                await asyncio.sleep(_POLL_SECONDS)
        self._pid_file.unlink(missing_ok=True)
        return True


def _start_time(pid: int) -> str | None:
    """Return the kernel's start time of a live process (proc(5), stat field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
