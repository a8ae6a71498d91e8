"""The table `inet lumos` of nftables: replaced in one transaction, nothing else of the host's rules is touched."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lumos_agent.config import State, split_listen, write_atomically
from lumos_agent.daemons import Daemon
from lumos_agent.errors import ApplyError
from lumos_agent.flood import BAN_SECONDS
from lumos_agent.forward import Forward
from lumos_agent.render.nftables import (
    FAMILY,
    MARK,
    TABLE,
    Table,
    fresh_script,
    kept_names,
    mark_of,
    render_table,
    script,
    version_of,
)
from lumos_agent.runner import run
from lumos_agent.schema import Snapshot
from lumos_agent.spared import spared

log = logging.getLogger(__name__)

_SYSCTL = Path("/proc/sys/net")
_FORWARDING = {4: _SYSCTL / "ipv4/ip_forward", 6: _SYSCTL / "ipv6/conf/all/forwarding"}
Place = tuple[str, int]
CONTROL_SECONDS = 600.0
_KINDS = {"chain", "set", "map", "counter", "ct timeout"}


class Nftables(Daemon):
    """The daemon of the UDP forwards (daemons.py); `counts` are read from the kernel's counters."""

    name = "nftables"

    def __init__(self, state: State) -> None:
        self._state = state
        self._control: tuple[str, ...] = ()
        self._control_at = 0.0
        self._script = state.nftables / "table.nft"
        self._opened_file = state.nftables / "opened.json"
        self._held: str | None = None  # the digest of the table that the kernel holds, "" without one; None: look

    async def check(self, snapshot: Snapshot) -> None:
        """Let nft parse the table and the kernel refuse it, without a change."""
        await self._find_control(snapshot)
        table = self._table(snapshot)
        if table is not None and not await self._runs(table):
            await self._nft(fresh_script(table), "check")

    async def apply(self, snapshot: Snapshot) -> str:
        """Make the kernel hold the table, or none if nothing needs one."""
        await self._find_control(snapshot)
        udp = [forward for forward in snapshot.forwards if forward.protocol == "udp"]
        if (table := self._table(snapshot)) is None:
            return "" if self._held == "" else await self._remove()
        if await self._runs(table):
            return ""
        if self._open({version_of(forward) for forward in udp}):
            table = self._table(snapshot) or table
        before = await self._objects()
        stale = [entry for kind, item in before if (entry := (kind, item["name"])) not in kept_names(table)]
        await self._nft(script(table, stale), "switch")
        if not await self._runs(table):
            raise ApplyError("probe", "the kernel took the table, and it is not there")
        await self._end_sessions(_targets(before), {mark_of(forward): _place(forward) for forward in udp})
        said = [f"{len(udp)} UDP port{'' if len(udp) == 1 else 's'}"] if udp else []
        return ", ".join([*said, *(["floods limited"] if snapshot.flood.is_on() else [])])

    async def keep(self, snapshot: Snapshot) -> str:
        """Look what the kernel holds, as anybody may have changed it; then as `apply`."""
        self._held = None
        return await self.apply(snapshot)

    async def _find_control(self, snapshot: Snapshot) -> None:
        """Look the control plane's addresses up now and then; without an answer the known ones stay."""
        now = time.monotonic()
        if not snapshot.flood.is_on() or (self._control and now - self._control_at < CONTROL_SECONDS):
            return
        host = urlsplit(self._state.settings().gateway_url).hostname or "localhost"
        with contextlib.suppress(OSError):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
            self._control = tuple(sorted({str(ipaddress.ip_network(entry[4][0])) for entry in found}))
            self._control_at = now

    def _table(self, snapshot: Snapshot) -> Table | None:
        settings = self._state.settings()
        ports = sorted({split_listen(listen)[1] for listen in (*settings.http, *settings.https)})
        flood = snapshot.flood
        if flood.is_on():
            flood = msgspec.structs.replace(flood, spared=tuple(sorted({*spared(snapshot), *self._control})))
        return render_table(snapshot.forwards, flood, ports=ports, closed=sorted(self.opened()))

    async def _nft(self, text: str, stage: str) -> None:
        try:
            write_atomically(self._script, text.encode())
        except OSError as error:
            raise ApplyError("write", f"cannot write {self._script}: {error.strerror or error}") from error
        flags = ["--check"] if stage == "check" else []
        if stage != "check":
            self._held = None
        code, output = await run(["nft", *flags, "-f", str(self._script)])
        if code != 0:
            raise ApplyError(stage, f"{output.strip()[:4000]}{_hint(output)}")

    async def _runs(self, table: Table) -> bool:
        if self._held != table.digest:
            code, _ = await run(["nft", "list", "chain", FAMILY, TABLE, f"v_{table.digest}"])
            self._held = table.digest if code == 0 else None
        return self._held is not None

    async def _objects(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (kind, object) of all that the table consists of; empty if there is none."""
        code, output = await run(["nft", "-j", "list", "table", FAMILY, TABLE])
        if code != 0:
            return []
        found = [next(iter(item.items())) for item in msgspec.json.decode(output)["nftables"]]
        return [(kind, item) for kind, item in found if kind in _KINDS]

    async def _remove(self) -> str:
        """Take the table out, and let the machine forward no more than it did."""
        if before := await self._objects():
            await self._nft(f"delete table {FAMILY} {TABLE}\n", "switch")
            await self._end_sessions(_targets(before), {})
        for version in self.opened():
            await asyncio.to_thread(_FORWARDING[version].write_text, "0")
        self._opened_file.unlink(missing_ok=True)
        self._held = ""
        return "removed" if before else ""

    def opened(self) -> set[int]:
        """Return the families (4, 6) whose forwarding this agent switched on."""
        try:
            return set(msgspec.json.decode(self._opened_file.read_bytes(), type=list[int]))
        except (OSError, msgspec.DecodeError):
            return set()

    def _open(self, versions: set[int]) -> bool:
        """Switch forwarding on where it is off; returns whether it was.

        That is remembered: the table then drops all other packets that would be forwarded.
        """
        before = self.opened()
        for version in sorted(versions):
            if _FORWARDING[version].read_text().strip() != "0":
                continue
            write_atomically(self._opened_file, msgspec.json.encode(sorted(self.opened() | {version})))
            if version == 6:
                _keep_router_advertisements()
            try:
                _FORWARDING[version].write_text("1")
            except OSError as error:
                raise ApplyError(
                    "switch",
                    f"cannot switch on forwarding in {_FORWARDING[version]}: {error.strerror}; the agent needs "
                    "CAP_NET_ADMIN and a writable /proc/sys/net",
                ) from error
            log.info("forwarding_switched_on", extra={"family": f"IPv{version}"})
        return self.opened() != before

    async def _end_sessions(self, before: dict[int, Place], after: dict[int, Place]) -> None:
        """Forget the sessions of ports that have another target now, or none: the next packet opens a new one."""
        for mark, place in before.items():
            if after.get(mark) != place:
                await run(["conntrack", "-D", "-p", "udp", "-m", str(mark)])

    async def counts(self) -> dict[int, tuple[int, int, int, int]]:
        """Return {port: (packets in, bytes in, packets out, bytes out)}, rising as long as the table is there."""
        found: dict[int, list[int]] = {}
        for kind, item in await self._objects():
            if kind == "counter" and item["name"].startswith(("in_", "out_")):
                way, _, port = item["name"].partition("_")
                counts = found.setdefault(int(port), [0, 0, 0, 0])
                at = 0 if way == "in" else 2
                counts[at], counts[at + 1] = item["packets"], item["bytes"]
        return {port: (c[0], c[1], c[2], c[3]) for port, c in found.items()}

    async def ban(self, addresses: Iterable[str]) -> None:
        """Hear nothing from these networks at the guarded ports for `BAN_SECONDS`, whatever becomes of the agent.

        Raises:
            ApplyError: the kernel refuses, or there is no set of bans.
        """
        by_version: dict[int, list[str]] = {}
        for address in addresses:
            by_version.setdefault(6 if ":" in address else 4, []).append(f"{address} timeout {BAN_SECONDS}s")
        lines = [f"add element {FAMILY} {TABLE} banned{v} {{ {', '.join(some)} }}" for v, some in by_version.items()]
        await self._nft("\n".join([*lines, ""]), "switch")

    async def flood_counts(self) -> tuple[int, int, int]:
        """Return (clients that are banned, packets dropped of theirs, packets dropped over a limit)."""
        banned, packets = 0, {"flood_banned": 0, "flood_limited": 0}
        for kind, item in await self._objects():
            if kind == "set" and item["name"].startswith("banned"):
                banned += len(item.get("elem", []))
            elif kind == "counter" and item["name"] in packets:
                packets[item["name"]] = item["packets"]
        return banned, packets["flood_banned"], packets["flood_limited"]


async def remove_tables(state: State) -> list[str]:
    """Take all tables of shields out of the kernel without touching the state; returns their names.

    Forwarding that an agent switched on is switched off.
    """
    code, output = await run(["nft", "-j", "list", "tables"])
    if code != 0:
        return []
    tables = [item["table"] for item in msgspec.json.decode(output)["nftables"] if "table" in item]
    names = [table["name"] for table in tables if table["family"] == FAMILY and _is_ours(table["name"])]
    for name in names:
        await run(["nft", "delete", "table", FAMILY, name])
    for version in Nftables(state).opened():
        _FORWARDING[version].write_text("0")
    return names


def _is_ours(name: str) -> bool:
    return name == TABLE or name.startswith(f"{TABLE}_tunnels_")


def _targets(objects: list[tuple[str, dict[str, Any]]]) -> dict[int, Place]:
    """Return {mark: target} of the maps in the kernel."""
    elements = [element for kind, item in objects if kind == "map" for element in item.get("elem", [])]
    return {MARK | port: (place["concat"][0], place["concat"][1]) for port, place in elements}


def _place(forward: Forward) -> Place:
    return forward.target, forward.target_port


def _keep_router_advertisements() -> None:
    """Let interfaces that learn their address from routers go on doing so while they forward (ip-sysctl, accept_ra)."""
    for setting in (_SYSCTL / "ipv6/conf").glob("*/accept_ra"):
        if setting.read_text().strip() == "1":
            setting.write_text("2")


def _hint(output: str) -> str:
    if "Operation not permitted" in output:
        return "\nThe agent needs CAP_NET_ADMIN: reinstall its service with `lumos-agent edge-setup`."
    return ""
