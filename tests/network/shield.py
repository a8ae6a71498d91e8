"""A shield's tunnels without its HAProxy: a process in a host's namespaces, driven by lines of JSON.

{"snapshot": {...}}   apply; answers {"applied": what changed} or {"refused": words}
{"look": true}        tell everything; every report that is sent comes as {"report": {...}}
{"doctor": {...}}     answers {"found": [[what is wrong, what to do], ...]} by the latest look
"""

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from lumos_agent import protocol
from lumos_agent.drivers.wireguard import Wireguard
from lumos_agent.errors import ApplyError
from lumos_agent.schema import Snapshot
from lumos_agent.tunnel_doctor import Notes, Words, problems
from lumos_agent.tunnel_watch import TunnelWatch
from tests.network.hosts import Host

SECONDS = 60.0


class Shield:
    """The process as the test sees it."""

    def __init__(self, host: Host, state: Path) -> None:
        self.host, self.state = host, state
        self.reports: queue.Queue[protocol.TunnelReport] = queue.Queue()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._process = host.start(
            sys.executable, "-m", "tests.network.shield", state, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "report" in said:
                self.reports.put(msgspec.convert(said["report"], protocol.TunnelReport))
            else:
                self._answers.put(said)

    def _say(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()

    def apply(self, snapshot: Snapshot) -> dict[str, Any]:
        """Apply a snapshot; returns the answer."""
        self._say({"snapshot": json.loads(snapshot.encode())})
        return self._answers.get(timeout=SECONDS)

    def report(self) -> protocol.TunnelReport:
        """Return a whole report."""
        while not self.reports.empty():
            self.reports.get()
        self._say({"look": True})
        return self.reports.get(timeout=SECONDS)

    def doctor(self, *, later: float = 0.0, path: str = "") -> list[list[str]]:
        """Return what the doctor says, who looks `later` seconds from now and finds programs in `path`."""
        self._say({"doctor": {"later": later, "path": path}})
        found: list[list[str]] = self._answers.get(timeout=SECONDS)["found"]
        return found

    def stop(self) -> None:
        """End the agent's part; the tunnels go on."""
        self._process.kill()
        self._process.wait(SECONDS)


def _doctor(notes: Notes | None, later: float, path: str) -> list[Words]:
    usual = os.environ["PATH"]
    os.environ["PATH"] = path or usual
    try:
        return [] if notes is None else problems(notes, time.time() + later)
    finally:
        os.environ["PATH"] = usual


async def _main(state: Path) -> None:
    async def send(message: protocol.AgentMessage) -> None:
        print(json.dumps({"report": msgspec.to_builtins(message)}), flush=True)  # noqa: T201

    wireguard = Wireguard(state / "tunnels")
    noted: list[Notes | None] = []
    watch = TunnelWatch(wireguard, send, noted.append)
    running = asyncio.create_task(watch.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        if "look" in asked:
            watch.tell_all()
            continue
        if "doctor" in asked:
            print(json.dumps({"found": _doctor(noted[-1], **asked["doctor"])}), flush=True)  # noqa: T201
            continue
        snapshot = msgspec.convert(asked["snapshot"], Snapshot)
        try:
            await wireguard.check(snapshot)
            print(json.dumps({"applied": await wireguard.apply(snapshot)}), flush=True)  # noqa: T201
        except ApplyError as error:
            print(json.dumps({"refused": str(error)}), flush=True)  # noqa: T201
        watch.look_soon()
    running.cancel()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
