"""Small zones, and a Knot DNS of their own for tests."""

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.edns
import dns.message
from msgspec import structs
from netaddr import IPSet  # type: ignore[import-untyped]

from lumos_agent.config import State
from lumos_agent.drivers.knot import Knot
from lumos_agent.schema import Snapshot
from lumos_agent.zone import Address, Nameserver, Proxied, Record, Zone
from tests.agent.builders import ident

SECONDS = 20.0


def record(owner: str, kind: Any, data: str, ttl: int = 60, **more: Any) -> Record:
    """Return a record."""
    return Record(owner=owner, kind=kind, ttl=ttl, data=data, **more)


def proxied(owner: str, *addresses: str, **more: Any) -> Proxied:
    """Return a proxied name; each address is another shield's."""
    shields = tuple(Address(address=a, server=ident(100 + number)) for number, a in enumerate(addresses))
    return Proxied(owner=owner, ttl=30, addresses=shields, **more)


def zone(*records: Record, name: str = "example.com", serial: int = 1, number: int = 1, **more: Any) -> Zone:
    """Return a zone with one name server."""
    servers = (Nameserver(server=ident(1), number=1, addresses=("192.0.2.53",)),)
    return Zone(id=ident(number), name=name, serial=serial, nameservers=servers, records=records, **more)


def snapshot_of(*zones: Zone) -> Snapshot:
    """Return a snapshot of zones alone."""
    return Snapshot(server_id=ident(0), domains=(), zones=tuple(sorted(zones, key=lambda z: z.name)))


def country_database(path: Path, countries: dict[str, tuple[str, str]]) -> None:
    """Write a database in MaxMind's format: {network: (country, continent)}."""
    import mmdb_writer

    writer = mmdb_writer.MMDBWriter(6, "Test", languages=["en"], ipv4_compatible=True)
    for network, (country, continent) in countries.items():
        writer.insert_network(IPSet([network]), {"country": {"iso_code": country}, "continent": {"code": continent}})
    temporary = path.with_suffix(".new")
    writer.to_db_file(str(temporary))
    temporary.replace(path)


def free_dns_port() -> int:
    """Return a loopback port that is free for UDP and TCP at this moment."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])


class RunningKnot:
    """A running Knot."""

    def __init__(self, state: State, port: int) -> None:
        self.state = state
        self.port = port
        self.database = state.geo / "country.mmdb"
        self.knot = self.again()

    def again(self) -> Knot:
        """Return the driver of another agent on the same state."""
        return Knot(self.state, (f"127.0.0.1:{self.port}",), self.database)

    async def serve(self, *zones: Zone) -> str:
        """Check and apply zones."""
        await self.knot.check(snapshot_of(*zones))
        return await self.knot.apply(snapshot_of(*zones))

    async def ask(
        self, name: str, kind: str = "A", *, source: str = "127.0.0.1", subnet: str = "", tcp: bool = False, **more: Any
    ) -> dns.message.Message:
        """Ask one question."""
        options = [dns.edns.ECSOption.from_text(f"ECS {subnet}")] if subnet else []
        question = dns.message.make_query(name, kind, use_edns=0, options=options, payload=1232, **more)
        ask = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await ask(question, "127.0.0.1", timeout=SECONDS, port=self.port, source=source)

    async def answers(self, name: str, kind: str = "A", **more: Any) -> list[str]:
        """Return the data of the answer, sorted."""
        answer = await self.ask(name, kind, **more)
        return sorted(data.to_text() for rrset in answer.answer for data in rrset)


@contextlib.asynccontextmanager
async def nameserver() -> AsyncIterator[RunningKnot]:
    """Run a Knot on a free port while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="la-") as folder:
        state = State(Path(folder))
        state.create()
        made = RunningKnot(state, free_dns_port())
        try:
            yield made
        finally:
            await made.knot.apply(snapshot_of())


def without(part: Proxied, down: Collection[str]) -> Proxied:
    """Return a proxied name whose shields at these addresses are down."""
    addresses = (structs.replace(a, down=a.address in down) for a in part.addresses)
    return structs.replace(part, addresses=tuple(addresses))


def zone_without(served: Zone, down: Collection[str]) -> Zone:
    """Return a zone whose shields at these addresses are down."""
    return structs.replace(served, proxied=tuple(without(part, down) for part in served.proxied))
