"""Hosts on a network of their own: namespaces joined by a bridge, which is in a namespace too. Needs root.

    with Hosts() as hosts:
        shield = hosts.add("shield", "192.0.2.1/24", "2001:db8::1/64")
        client = hosts.add("client", "192.0.2.9/24")
        server = shield.start("python3", "-m", "http.server", "80")
        client.run("curl", "-s", "http://192.0.2.1/")
        shield.cut()

Names are unique per process and network, so several pytest workers do not meet. Leaving the `with` ends every process
that is in one of the namespaces and removes them.
"""

import ctypes
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from ipaddress import ip_interface
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest

SECONDS = 60.0

_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=SECONDS)


def _entering(namespace: str) -> list[str]:
    """Return what stands before a command that runs in `namespace`; ip-netns(8) needs a root that is a mount."""
    by_ip = ["ip", "netns", "exec", namespace]
    return by_ip if _has_mounted_root() else ["nsenter", f"--net=/run/netns/{namespace}"]


@cache
def _has_mounted_root() -> bool:
    """Whether this is no chroot: mount(8) can change how the root is shared in a namespace of its own."""
    argv = ["unshare", "--mount", "--propagation", "unchanged", "mount", "--make-rslave", "/"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _ip_in(namespace: str, *words: str) -> None:
    subprocess.run([*_entering(namespace), "ip", *words], check=True, capture_output=True, timeout=SECONDS)


def _can_make_namespaces() -> bool:
    name = f"lt{os.getpid()}try"
    try:
        _ip("netns", "add", name)
        _ip_in(name, "link", "set", "lo", "up")
        _ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


needs_hosts = pytest.mark.skipif(
    not _can_make_namespaces(), reason="network namespaces need root, iproute2 and a kernel that lets them be made"
)


def _make_namespace(name: str) -> None:
    _ip("netns", "add", name)
    _ip_in(name, "link", "set", "lo", "up")


def _remove_namespace(name: str) -> None:
    _end_all_in(name)
    _ip("netns", "del", name)


def _end_all_in(namespace: str) -> None:
    """Kill what runs in `namespace` and wait until it is gone."""
    deadline = time.monotonic() + SECONDS
    while pids := _pids_in(namespace):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{namespace}: processes {pids} do not end")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _pids_in(namespace: str) -> list[int]:
    answer = subprocess.run(
        ["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True, timeout=SECONDS
    )
    return [pid for pid in map(int, answer.stdout.split()) if not _is_dead(pid)]


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Host:
    """One host: a namespace with `lo` and `eth0`."""

    def __init__(self, network: str, name: str, number: int, addresses: Sequence[str]) -> None:
        self.name = name
        self.namespace = f"{network}-{name}"
        self.addresses = tuple(str(ip_interface(address).ip) for address in addresses)
        self._bridge = f"{network}-bridge"
        self._port = f"port{number}"
        self._started: list[subprocess.Popen[bytes]] = []
        _make_namespace(self.namespace)
        pair = ("type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _ip_in(self._bridge, "link", "add", self._port, *pair)
        _ip_in(self._bridge, "link", "set", self._port, "master", "bridge", "up")
        for address in addresses:
            self.add_address(address)
        _ip_in(self.namespace, "link", "set", "eth0", "up")

    @property
    def address(self) -> str:
        """Its first address."""
        return self.addresses[0]

    def add_address(self, address: str) -> None:
        """Give `eth0` one more address with its prefix length; IPv6 is usable at once."""
        at_once = ("nodad",) if ip_interface(address).version == 6 else ()
        _ip_in(self.namespace, "address", "add", address, "dev", "eth0", *at_once)

    def ip(self, *words: str) -> None:
        """Call ip(8) for this host, for instance `ip("route", "add", "default", "via", …)`."""
        _ip_in(self.namespace, *words)

    def argv(self, *argv: str | Path) -> list[str]:
        """Return the command that runs `argv` here."""
        return [*_entering(self.namespace), *map(str, argv)]

    def run(
        self, *argv: str | Path, check: bool = True, timeout: float = SECONDS, **popen: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; with `check`, a failure raises AssertionError with its output."""
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True, timeout=timeout, check=False, **popen)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: {argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def start(self, *argv: str | Path, **popen: Any) -> "subprocess.Popen[bytes]":
        """Start a command; leaving the network ends it if it still runs."""
        process = subprocess.Popen(self.argv(*argv), **popen)
        self._started.append(process)
        return process

    def remove(self) -> None:
        """End what was started here, whether it has entered the namespace already or not, and all that is in it."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
        _remove_namespace(self.namespace)

    def inside(self, call: Callable[[], T]) -> T:
        """Call `call` in a thread that is in this namespace: a socket made there stays there."""
        result: list[T] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                with Path(f"/run/netns/{self.namespace}").open() as namespace:
                    if _libc.setns(namespace.fileno(), 0x40000000) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                result.append(call())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return result[0]

    def cut(self) -> None:
        """Take the host off the network as a pulled cable does; its processes notice nothing else."""
        _ip_in(self._bridge, "link", "set", self._port, "nomaster")

    def join(self) -> None:
        """Undo `cut`."""
        _ip_in(self._bridge, "link", "set", self._port, "master", "bridge")

    @contextmanager
    def apart(self) -> Iterator[None]:
        """`cut`, then `join`."""
        self.cut()
        try:
            yield
        finally:
            self.join()

    def mtu(self, size_bytes: int) -> None:
        """Let the network drop packets to this host that are larger, silently, while it may send larger ones."""
        _ip_in(self._bridge, "link", "set", self._port, "mtu", str(size_bytes))


class Hosts:
    """A network of hosts."""

    def __init__(self) -> None:
        self.name = f"lt{os.getpid()}n{next(_numbers)}"
        self.hosts: list[Host] = []
        self._bridge = f"{self.name}-bridge"

    def __enter__(self) -> "Hosts":
        _make_namespace(self._bridge)
        _ip_in(self._bridge, "link", "add", "bridge", "type", "bridge")
        _ip_in(self._bridge, "link", "set", "bridge", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in self.hosts:
            host.remove()
        _remove_namespace(self._bridge)

    def add(self, name: str, *addresses: str) -> Host:
        """Add a host with `addresses` ("192.0.2.1/24") on its `eth0`."""
        host = Host(self.name, name, len(self.hosts), addresses)
        self.hosts.append(host)
        return host
