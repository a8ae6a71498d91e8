"""HAProxy as a process of its own: started detached, reloaded through the master CLI, watched through a CLI session.

The agent opens the listening sockets, HAProxy inherits them and the agent keeps them open, so that they survive a
worker that is killed (the master ends with it): new connections wait in the backlog until the next worker is there. An
agent that starts later takes them over from the worker. The log is a FIFO that HAProxy itself holds open, so that the
agent may come and go.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lumos_agent.config import State, split_listen, write_atomically
from lumos_agent.drivers import cli
from lumos_agent.drivers.descriptors import sockets_of
from lumos_agent.drivers.master import POLL_SECONDS, READY_SECONDS, Master, MasterProcess, readable
from lumos_agent.errors import HaproxyError
from lumos_agent.plan import MapChange, ServerChange
from lumos_agent.runner import run

BACKLOG = 4096
PIPE_BYTES = 1024 * 1024
# glibc would give HAProxy's buffers back to the kernel after each request and fetch them again (mallopt(3)).
_KEEP_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
CHECK_SECONDS = 60.0
# Fields of `show servers state` (management guide, 9.3), and the operational state of a server that gets requests.
_BACKEND, _SERVER, _ADDRESS, _OPERATIONAL_STATE, _ADMIN_STATE, _WEIGHT, _INITIAL_WEIGHT = 1, 3, 4, 5, 6, 7, 8
_NAME, _PORT, _TLS = 17, 18, 20
_RUNNING = "2"
# What makes servers have a state that a reload would lose, and a file of states without any.
_CHECK_LINE, _RESOLVED = "    option httpchk", " resolvers lumos "
_NO_STATE = b"1\n"


class Haproxy:
    """The one HAProxy of a state directory."""

    def __init__(self, state: State, http: tuple[str, ...], https: tuple[str, ...]) -> None:
        self._state = state
        self._listens = {f"LUMOS_HTTP_{i}": text for i, text in enumerate(http)}
        self._listens |= {f"LUMOS_HTTPS_{i}": text for i, text in enumerate(https)}
        self._sockets: dict[str, socket.socket] = {}
        self._master = MasterProcess(state.pid_file, state.master_socket, state.haproxy_log, state.current)

    def master(self) -> Master | None:
        """Return the running master, or None."""
        return self._master.running()

    async def end_master(self) -> None:
        """Make sure that no master is left, as one whose worker died ends by itself a moment later."""
        await self._master.end()

    def last_words(self) -> str:
        """Return the end of what HAProxy wrote to stderr."""
        return self._master.last_words()

    async def worker_generations(self) -> int:
        """Return how many worker generations are alive."""
        return await self._master.worker_generations()

    async def check(self, folder: Path) -> str | None:
        """Return HAProxy's own words if it refuses the configuration in `folder`, else None."""
        code, output = await run(["haproxy", "-c", "-f", str(folder / "haproxy.cfg")], timeout_seconds=CHECK_SECONDS)
        return None if code == 0 else readable(output, folder)

    def adopt(self) -> None:
        """Take copies of the listening sockets of an earlier agent's HAProxy, where the kernel allows it."""
        if (master := self.master()) is None:
            return
        for opened in sockets_of(master.pid):
            name = self._name_of(opened)
            if name is None or name in self._sockets:
                opened.close()
            else:
                self._sockets[name] = opened

    def _name_of(self, opened: socket.socket) -> str | None:
        address = opened.getsockname()[:2]
        return next((name for name, text in self._listens.items() if split_listen(text) == address), None)

    def _listen(self) -> dict[str, socket.socket]:
        """Return the listening sockets; the agent keeps them open, so that none is lost with HAProxy."""
        for name, listen in self._listens.items():
            if name not in self._sockets:
                self._sockets[name] = _listening_socket(listen)
        return self._sockets

    async def start(self) -> None:
        """Start the master on the current generation and wait for its worker.

        Raises:
            HaproxyError: a port is taken, or the worker does not come up.
        """
        state = self._state
        before = await self._worker_pid()
        state.server_state.touch(mode=0o600)
        sockets = self._listen()
        listens = {name: f"fd@{opened.fileno()}" for name, opened in sockets.items()}
        pipes = _log_pipe(state.fifo), _log_pipe(state.answers_fifo)
        with pipes[0] as log, pipes[1] as answers, state.haproxy_log.open("ab") as errors:
            process = self._master.start(
                state.current / "haproxy.cfg",
                stdout=log,
                stderr=errors,
                env={**_KEEP_BUFFERS, **listens, "LUMOS_ANSWERS": f"fd@{answers}"},
                pass_fds=[answers, *(opened.fileno() for opened in sockets.values())],
            )
        await self._until_worker_answers(process, before)

    async def _worker_pid(self) -> str:
        """Return the process id of the worker that answers, empty if none does."""
        try:
            words = (await cli.ask(self._state.worker_socket, ["show info"])).split()
        except HaproxyError:
            return ""
        return words[words.index("Pid:") + 1]

    async def _until_worker_answers(self, process: subprocess.Popen[bytes], before: str) -> None:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if process.poll() is not None:
                raise HaproxyError(f"HAProxy ended at start: {self.last_words()}")
            if await self._worker_pid() not in ("", before) and await self._master.answers():
                return
            await asyncio.sleep(POLL_SECONDS)
        raise HaproxyError(f"HAProxy did not answer within {READY_SECONDS:.0f} s: {self.last_words()}")

    async def running_generation(self) -> int | None:
        """Return the generation that the worker which answers the probe runs, or None if none answers."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_unix_connection(str(self._state.probe_socket))
                writer.write(b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
                answer = await reader.read(-1)
                writer.close()
        except (OSError, TimeoutError):
            return None
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(body) if b" 200 " in head.split(b"\r\n", 1)[0] and body.isdigit() else None

    async def reload(self, generation: int) -> None:
        """Make the master start a worker on the current generation; returns when it serves `generation`.

        Raises:
            HaproxyError: the new worker did not come up; the old one goes on.
        """
        await self._save_server_state()
        await self._master.reload()
        await self.await_generation(generation)

    async def await_generation(self, generation: int) -> None:
        """Return when the probe answers with `generation`.

        Raises:
            HaproxyError: it did not within the time limit.
        """
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while await self.running_generation() != generation:
            if asyncio.get_running_loop().time() > deadline:
                raise HaproxyError(f"the new worker does not answer: {self.last_words()}")
            await asyncio.sleep(POLL_SECONDS)

    async def _save_server_state(self) -> None:
        """Keep the resolved addresses of origins over the reload; a worker that is dead has none to give."""
        wanted = (self._state.current / "haproxy.cfg").read_text(encoding="utf-8")
        if _CHECK_LINE not in wanted and _RESOLVED not in wanted:
            write_atomically(self._state.server_state, _NO_STATE)
            return
        with contextlib.suppress(HaproxyError):
            rows = await cli.ask(self._state.worker_socket, ["show servers state"])
            write_atomically(self._state.server_state, _carried_over(rows, wanted).encode())

    async def change(self, servers: tuple[ServerChange, ...], maps: tuple[MapChange, ...]) -> None:
        """Change servers and maps of the running worker.

        Raises:
            HaproxyError: it refused one; the caller reloads instead.
        """
        session = await cli.Session.open(self._state.worker_socket)
        try:
            for command in [*_server_commands(servers), *map(_map_command, maps)]:
                if answer := (await session.command(command)).strip():
                    raise HaproxyError(f"{command}: {answer}")
        finally:
            await session.close()

    async def answers_publicly(self) -> bool:
        """Whether every plain-HTTP listener gives our own answer to a request without a host."""
        for name, listen in self._listens.items():
            if name.startswith("LUMOS_HTTP_") and not await _answers_421(listen):
                return False
        return True

    async def replace_master(self) -> None:
        """Start another master on the same sockets, then let the old one end softly: no visitor notices.

        A master that failed to load a configuration has closed its sockets and can reload no more.
        """
        old = self.master()
        await self.start()
        if old is not None:
            os.kill(old.pid, signal.SIGUSR1)

    async def restart(self) -> None:
        """Replace a HAProxy whose worker died."""
        await self.end_master()
        await self.start()

    def stop(self) -> bool:
        """End HAProxy: master and workers, at once. False if it did not run."""
        return self._master.stop()


def _server_commands(changes: tuple[ServerChange, ...]) -> list[str]:
    commands = []
    for change in changes:
        commands.append(f"set server {change.server} weight {change.weight}")
        commands.append(f"set server {change.server} state {'ready' if change.is_enabled else 'maint'}")
    return commands


def _checked(cfg: str) -> set[str]:
    """Return the backends of a configuration whose servers are checked."""
    found: set[str] = set()
    backend = ""
    if _CHECK_LINE not in cfg:
        return found
    for line in cfg.splitlines():
        if line.startswith("backend "):
            backend = line.split()[1]
        elif line == _CHECK_LINE:
            found.add(backend)
    return found


def _places(cfg: str, backends: set[str]) -> set[tuple[str, str, str, str, str]]:
    """Return (backend, server, address, port, "1" for TLS) of every server of some backends of a configuration."""
    found, backend = set(), ""
    for line in cfg.splitlines():
        if line.startswith("backend "):
            backend = line.split()[1]
        elif backend in backends and line.startswith("    server "):
            _, name, place, *words = line.split()
            address, _, port = place.rpartition(":")
            found.add((backend, name, address.strip("[]"), port, str(int("ssl" in words))))
    return found


def _carried_over(rows: str, wanted: str) -> str:
    """Return `show servers state` without what the configuration that is `wanted` says.

    What a reload would lose are checks and resolved names: of thousands of servers most have neither and are left out.
    So are servers that are another place now (their state would bring the old port back), and those in maintenance; the
    weight is the one that the configuration gave; in a backend without checks every server runs: no check would bring
    it back.
    """
    checked = _checked(wanted)
    lines = [line.split(" ") for line in rows.splitlines(keepends=True)]
    servers = [f for f in lines if len(f) > _TLS and f[0] != "#" and (f[_BACKEND] in checked or f[_NAME] != "-")]
    places = _places(wanted, {fields[_BACKEND] for fields in servers})
    kept = [fields for fields in lines if len(fields) <= _TLS or fields[0] == "#"]
    for fields in servers:
        if fields[_ADMIN_STATE] == "0" and _is_in(places, fields):
            fields[_WEIGHT] = fields[_INITIAL_WEIGHT]
            if fields[_BACKEND] not in checked:
                fields[_OPERATIONAL_STATE] = _RUNNING
            kept.append(fields)
    return "".join(" ".join(fields) for fields in kept)


def _is_in(places: set[tuple[str, str, str, str, str]], row: list[str]) -> bool:
    address = row[_ADDRESS] if row[_NAME] == "-" else row[_NAME]
    return (row[_BACKEND], row[_SERVER], address, row[_PORT], row[_TLS]) in places


def _escaped(word: str) -> str:
    return word.replace(" ", "\\ ").replace(";", "\\;")


def _map_command(change: MapChange) -> str:
    path, key = f"maps/{change.map}.map", _escaped(change.key)
    if change.value is None:
        return f"del map {path} {key}"
    return f"{'add' if change.is_new else 'set'} map {path} {key} {_escaped(change.value)}"


def _listening_socket(listen: str) -> socket.socket:
    host, port = split_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise HaproxyError(
            f"cannot listen on {listen}: {error.strerror}; stop what uses that port (`ss -ltnp` shows it), or enroll "
            "with other --http and --https addresses"
        ) from error
    return opened


@contextlib.contextmanager
def _log_pipe(path: Path) -> Iterator[int]:
    """Open the FIFO for reading and writing, so that it never ends and never blocks for want of a reader."""
    if not path.is_fifo():
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR)
    try:
        # An ordinary user may be over his limit of pipe memory; a smaller pipe does.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield descriptor
    finally:
        os.close(descriptor)


async def _answers_421(listen: str) -> bool:
    host, port = split_listen(listen)
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(target, port)
            writer.write(b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 421 " in line
