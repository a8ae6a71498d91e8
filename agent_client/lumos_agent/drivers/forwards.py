"""TCP forwards in a HAProxy of their own; its configuration is one file, replaced by rename."""

import asyncio
import csv
import io
from typing import NamedTuple

from lumos_agent.config import State, write_atomically
from lumos_agent.counters import parse_info
from lumos_agent.daemons import Daemon
from lumos_agent.drivers import cli
from lumos_agent.drivers.master import POLL_SECONDS, READY_SECONDS, MasterProcess, readable
from lumos_agent.errors import ApplyError, HaproxyError
from lumos_agent.render.forwards import Rendered, render_tcp, targets_of
from lumos_agent.runner import run
from lumos_agent.schema import Snapshot


class Passed(NamedTuple):
    """What one forward carried since its worker started."""

    sessions: int
    bytes_in: int
    bytes_out: int
    active: int


class TcpForwards(Daemon):
    """The daemon of the TCP forwards (daemons.py)."""

    name = "TCP forwards"

    def __init__(self, state: State) -> None:
        self._state = state
        self._cfg = state.forwards / "haproxy.cfg"
        self._log = state.forwards / "haproxy.log"
        self._process = MasterProcess(
            state.forwards / "pid.json", state.forwards_master_socket, self._log, state.forwards
        )

    async def check(self, snapshot: Snapshot) -> None:
        """Let HAProxy read the configuration."""
        if (wanted := self._rendered(snapshot)) is None or wanted.text == self._written():
            return
        candidate = self._state.forwards / "candidate.cfg"
        write_atomically(candidate, wanted.text.encode())
        code, output = await run(["haproxy", "-c", "-f", str(candidate)])
        if code != 0:
            raise ApplyError("check", readable(output, self._state.forwards))

    async def apply(self, snapshot: Snapshot) -> str:
        """Bring the wanted forwards into service: nothing, targets in the running worker, or a reload."""
        wanted, before = self._rendered(snapshot), self._written()
        if wanted is None:
            return await self._end()
        running = await self._structure()
        if running == wanted.structure and before == wanted.text:
            return ""
        if running == wanted.structure:
            changed = await self._change_targets(before, wanted.text)
            self._write(wanted.text)
            return f"{_counted(changed, 'target')} changed"
        self._write(wanted.text)
        try:
            return await self._reload(wanted, is_running=running is not None)
        except HaproxyError as error:
            await self._go_back(before)
            raise ApplyError("reload", str(error)) from error

    def _rendered(self, snapshot: Snapshot) -> Rendered | None:
        settings = self._state.settings()
        return render_tcp(
            snapshot.forwards,
            listens=settings.http,
            socket=str(self._state.forwards_socket),
            proxies=settings.proxy_protocol_from,
        )

    def _written(self) -> str:
        try:
            return self._cfg.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _write(self, text: str) -> None:
        try:
            write_atomically(self._cfg, text.encode())
        except OSError as error:
            raise ApplyError("write", f"cannot write {self._cfg}: {error.strerror or error}") from error

    async def _structure(self) -> str | None:
        """Return which structure the worker runs that takes new connections, or None if there is none."""
        if self._process.running() is None:
            return None
        try:
            info = parse_info(await cli.ask(self._state.forwards_socket, ["show info"]))
        except HaproxyError:
            return None
        return info.get("Description", info.get("description", ""))

    async def _change_targets(self, before: str, after: str) -> int:
        """Send new connections to other addresses; those that are open stay where they are."""
        old, new = targets_of(before), targets_of(after)
        changed = {name: place for name, place in new.items() if old.get(name) != place}
        for name, (address, port) in changed.items():
            answer = await cli.ask(self._state.forwards_socket, [f"set server f-{name}/t addr {address} port {port}"])
            if "changed" not in answer and "no need" not in answer:
                raise ApplyError("switch", f"HAProxy refused the target {address}:{port}: {answer.strip()}")
        return len(changed)

    async def _reload(self, wanted: Rendered, *, is_running: bool) -> str:
        if is_running:
            await self._process.reload()
        else:
            await self._process.end()
            self._start()
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while await self._structure() != wanted.structure:
            if self._process.running() is None:
                raise HaproxyError(f"HAProxy ended at start: {self._process.last_words()}")
            if asyncio.get_running_loop().time() > deadline:
                raise HaproxyError(f"HAProxy did not answer within {READY_SECONDS:.0f} s: {self._process.last_words()}")
            await asyncio.sleep(POLL_SECONDS)
        count = _counted(len(targets_of(wanted.text)), "port")
        return f"reloaded with {count}" if is_running else f"started with {count}"

    def _start(self) -> None:
        with self._log.open("ab") as errors:
            self._process.start(self._cfg, stdout=errors.fileno(), stderr=errors, env={}, pass_fds=())

    async def _go_back(self, before: str) -> None:
        """Run what ran before; a worker that took no new configuration never stopped."""
        if not before:
            await self._end()
            return
        self._write(before)
        if await self._structure() is None:
            await self._process.end()
            self._start()

    async def _end(self) -> str:
        """Stop when nothing is forwarded any more."""
        was_running = self._process.running() is not None
        if was_running:
            await self._process.end()
        self._cfg.unlink(missing_ok=True)
        return "stopped" if was_running else ""

    async def passed(self) -> tuple[str, dict[str, Passed]]:
        """Return the worker that takes new connections, and {forward id: what it carried}; empty if none runs."""
        try:
            answer = await cli.ask(self._state.forwards_socket, ["show info", "show stat -1 1 -1"])
        except HaproxyError:
            return "", {}
        info, _, stat = answer.partition("# pxname")
        worker = parse_info(info).get("Pid", "")
        rows = csv.DictReader(io.StringIO(f"pxname{stat}"))
        return worker, {
            row["pxname"].removeprefix("f-"): Passed(
                int(row["stot"]), int(row["bin"]), int(row["bout"]), int(row["scur"])
            )
            for row in rows
            if row["pxname"].startswith("f-")
        }

    def stop(self) -> bool:
        """End it at once; False if it did not run."""
        return self._process.stop()


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
