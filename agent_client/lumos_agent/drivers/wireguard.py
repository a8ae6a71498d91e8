"""The shield's end of its tunnels: own keys, interfaces, peers, and the way that packets to each origin take.

Private keys are made here and stay here. What runs outlives the agent, which finds it again by name. While an end
changes its key there is more than one way to an origin: an interface with each key of the shield, a peer with each key
of the origin. Packets take the way on which the origin shook hands last (`steer`): nobody has to say when it moved.
"""

import asyncio
import base64
import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct

from lumos_agent.config import write_atomically
from lumos_agent.daemons import Daemon
from lumos_agent.drivers import wireguard_arrivals as arrivals
from lumos_agent.drivers import wireguard_device as device
from lumos_agent.drivers.wireguard_arrivals import Arrivals
from lumos_agent.drivers.wireguard_device import Dump
from lumos_agent.errors import ApplyError
from lumos_agent.render.wireguard import Way, interface_conf
from lumos_agent.schema import Snapshot
from lumos_agent.tunnel import Interface, Peer, Tunnels, interface_name

Dumps = Mapping[int, Dump | None]


class Memory(Struct, frozen=True):
    """Where origins were last, and by which way: what an interface that is made anew cannot know."""

    endpoints: dict[str, str] = {}
    ways: dict[str, Way] = {}


class Wireguard(Daemon):
    """All tunnels of one state directory (`daemons.Daemon`)."""

    name = "tunnels"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()
        self._server_id = ""
        self._tunnels: Tunnels | None = None
        self._ways: dict[str, Way] = {}

    async def check(self, snapshot: Snapshot) -> None:
        """Find out whether tools, a way to make interfaces and the ports are there."""
        if snapshot.tunnels is None:
            return
        if words := device.missing():
            raise ApplyError("check", words)
        for interface in snapshot.tunnels.interfaces:
            name = interface_name(snapshot.server_id, interface.number)
            if not self._conf(name).exists() and not _is_free(interface.port):
                raise ApplyError("check", f"another program has UDP port {interface.port}; end it, or change the port")

    async def stop(self, server_id: str) -> None:
        """Take interfaces and counters away; keys stay, so that the same ends find each other again."""
        for conf in self._folder.glob("*.conf"):
            await device.remove(conf.stem)
        await arrivals.remove(server_id)

    async def apply(self, snapshot: Snapshot) -> str:
        """Converge; see `daemons.Daemon`."""
        if snapshot.tunnels is None and not self._folder.exists():
            return ""
        async with self._lock:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._server_id, self._tunnels = snapshot.server_id, snapshot.tunnels
            changed = await self._remove_others()
            await self._count()
            if snapshot.tunnels is not None:
                changed += await self._bring_up(snapshot.tunnels)
                changed += await self._direct(snapshot.tunnels)
            return ", ".join(changed)

    async def _remove_others(self) -> list[str]:
        """Take away interfaces and keys that are not wanted any more."""
        wanted = {} if self._tunnels is None else {i.number: self._name(i) for i in self._tunnels.interfaces}
        gone = [path for path in self._folder.glob("*.conf") if path.stem not in wanted.values()]
        for path in gone:
            await device.remove(path.stem)
            path.unlink()
        for path in self._folder.glob("key-*"):
            if path.name not in {f"key-{number}" for number in wanted}:
                path.unlink()
        return [f"{path.stem} removed" for path in gone]

    async def _count(self) -> None:
        """Count handshakes that begin at the ports of now."""
        path = self._folder / "arrivals.nft"
        ports = () if self._tunnels is None else [interface.port for interface in self._tunnels.interfaces]
        text = arrivals.table_text(self._server_id, ports) if ports else ""
        is_counting = await arrivals.read(self._server_id) is not None
        if text and not (is_counting and path.exists() and path.read_text(encoding="ascii") == text):
            write_atomically(path, text.encode())
            await arrivals.install(str(path))
        elif not text and path.exists():
            await arrivals.remove(self._server_id)
            path.unlink()

    async def arrivals(self) -> Arrivals | None:
        """Return how many handshakes origins began, None if nobody counts."""
        return await arrivals.read(self._server_id)

    async def _bring_up(self, tunnels: Tunnels) -> list[str]:
        made = []
        for interface in tunnels.interfaces:
            name = self._name(interface)
            if await device.dump(name) is None:
                made.append(f"{name} made ({await device.create(name)})")
            await device.bring_up(name, tunnels.address, tunnels.mtu, tunnels.network)
        return made

    async def _direct(self, tunnels: Tunnels) -> list[str]:
        """Set peers and routes; returns what changed."""
        dumps = await self._dumps(tunnels)
        before = self._memory()
        ways = chosen_ways(tunnels, dumps, before.ways)
        self._remember(before, dumps, ways)
        self._ways = ways
        changed = [
            f"peers of {self._name(interface)}"
            for interface in tunnels.interfaces
            if await self._set_peers(tunnels, interface, dumps[interface.number], ways, before)
        ]
        for interface in tunnels.interfaces:
            await self._set_routes(tunnels, interface, ways)
        return changed

    async def _set_peers(
        self, tunnels: Tunnels, interface: Interface, runs: Dump | None, ways: Mapping[str, Way], memory: Memory
    ) -> bool:
        private, public = self._key(interface.number)
        name, wanted = self._name(interface), allowed_by_key(tunnels, ways)
        found = {} if runs is None else {key: peer.allowed for key, peer in runs.peers.items()}
        if runs is not None and (runs.public_key, runs.port, found) == (public, interface.port, wanted):
            return False
        lost = {key: at for key, at in memory.endpoints.items() if runs is None or key not in runs.peers}
        endpoints = {} if runs is not None and runs.peers else lost
        text = interface_conf(tunnels, interface, private, ways, endpoints)
        write_atomically(self._conf(name), text.encode())
        await device.synchronise(name, self._conf(name))
        return True

    async def _set_routes(self, tunnels: Tunnels, interface: Interface, ways: Mapping[str, Way]) -> None:
        name = self._name(interface)
        wanted = {address for address, (number, _) in ways.items() if number == interface.number}
        held = await device.routes(name)
        for address in wanted - held:
            await device.route(address, name, tunnels.address)
        for address in held - wanted:
            with contextlib.suppress(ApplyError):  # `route` to the other interface has replaced it
                await device.unroute(address, name)

    @property
    def ends(self) -> Tunnels | None:
        """Return what was applied last, None if there are no tunnels."""
        return self._tunnels

    def interfaces(self) -> tuple[str, ...]:
        """Return the names of the interfaces."""
        return () if self._tunnels is None else tuple(map(self._name, self._tunnels.interfaces))

    @property
    def is_changing(self) -> bool:
        """Whether an end changes its key, so that packets may soon have to take another way."""
        tunnels = self._tunnels
        return tunnels is not None and (len(tunnels.interfaces) > 1 or any(len(p.keys) > 1 for p in tunnels.peers))

    async def steer(self) -> None:
        """Follow origins that shook hands by another way.

        Raises:
            AgentError: the machine refuses.
        """
        async with self._lock:
            if self._tunnels is None or not self.is_changing:
                return
            ways = chosen_ways(self._tunnels, await self._dumps(self._tunnels), self._ways)
            if ways != self._ways:
                for address in (address for address, way in ways.items() if way[0] != self._ways[address][0]):
                    name = interface_name(self._server_id, ways[address][0])
                    await device.route(address, name, self._tunnels.address)
                await self._direct(self._tunnels)

    async def state(self) -> tuple[dict[int, str], list[tuple[Peer, Way, Dump]]]:
        """Return the shield's public keys by number, and for each origin the way that it takes with what runs there."""
        async with self._lock:
            tunnels = self._tunnels
            if tunnels is None:
                return {}, []
            dumps = await self._dumps(tunnels)
            ways = chosen_ways(tunnels, dumps, self._memory().ways)
            keys = {number: dump.public_key for number, dump in dumps.items() if dump is not None}
            found = [(peer, ways[peer.address], dumps[ways[peer.address][0]]) for peer in tunnels.peers]
            return keys, [(peer, way, runs) for peer, way, runs in found if runs is not None]

    async def _dumps(self, tunnels: Tunnels) -> dict[int, Dump | None]:
        names = [self._name(interface) for interface in tunnels.interfaces]
        found = await asyncio.gather(*map(device.dump, names))
        return {interface.number: dump for interface, dump in zip(tunnels.interfaces, found, strict=True)}

    def _name(self, interface: Interface) -> str:
        return interface_name(self._server_id, interface.number)

    def _conf(self, name: str) -> Path:
        return self._folder / f"{name}.conf"

    def _key(self, number: int) -> tuple[str, str]:
        """Return (private, public) in base64; made at the first use."""
        path = self._folder / f"key-{number}"
        if not path.exists():
            write_atomically(path, base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()))
        private = path.read_text(encoding="ascii")
        try:
            public = X25519PrivateKey.from_private_bytes(base64.b64decode(private, validate=True)).public_key()
        except ValueError as error:
            raise ApplyError("switch", f"{path} holds no key; delete it, and a new one is made") from error
        encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        return private, base64.b64encode(public.public_bytes(encoding, form)).decode()

    def _memory(self) -> Memory:
        try:
            return msgspec.json.decode((self._folder / "memory.json").read_bytes(), type=Memory)
        except (OSError, msgspec.DecodeError):
            return Memory()

    def _remember(self, before: Memory, dumps: Dumps, ways: Mapping[str, Way]) -> None:
        seen = {k: p.endpoint for d in dumps.values() if d is not None for k, p in d.peers.items() if p.endpoint}
        known = {key: at for key, at in before.endpoints.items() if any(d and key in d.peers for d in dumps.values())}
        after = Memory(endpoints=known | seen, ways=dict(ways))
        if after != before:
            write_atomically(self._folder / "memory.json", msgspec.json.encode(after), durable=False)


def chosen_ways(tunnels: Tunnels, dumps: Dumps, before: Mapping[str, Way]) -> dict[str, Way]:
    """Return the way to each origin by address: where it shook hands last, else the one `before`, else the oldest."""
    found = {}
    for peer in tunnels.peers:
        ways = [(interface.number, key) for interface in tunnels.interfaces for key in peer.keys]
        shaken = [(_handshake(dumps, way), way == before.get(peer.address)) for way in ways]
        found[peer.address] = ways[shaken.index(max(shaken))]
    return found


def _handshake(dumps: Dumps, way: Way) -> int:
    runs = dumps.get(way[0])
    peer = None if runs is None else runs.peers.get(way[1])
    return 0 if peer is None else peer.handshake


def allowed_by_key(tunnels: Tunnels, ways: Mapping[str, Way]) -> dict[str, frozenset[str]]:
    """Return what each peer may send from, the same on both interfaces: packets may come by either."""
    return {
        key: frozenset({f"{peer.address}/32"} if ways[peer.address][1] == key else ())
        for peer in tunnels.peers
        for key in peer.keys
    }


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - WireGuard listens on all addresses
        except OSError:
            return False
    return True
