"""Small snapshots, and a shield without a control plane."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lumos_agent.apply import Applier
from lumos_agent.certificates import make_default_certificate
from lumos_agent.challenged import Challenged
from lumos_agent.config import Settings, State
from lumos_agent.counters import Workers
from lumos_agent.daemons import Daemon
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.eventlog import EventLog
from lumos_agent.geo import Locator
from lumos_agent.metrics import Metrics
from lumos_agent.options import options_of
from lumos_agent.protocol import BatchAck, Config, Event
from lumos_agent.response import AttackResponse
from lumos_agent.schema import Domain, Origin, Snapshot, digest_of, listings
from lumos_agent.store import Store
from tests.services import free_port

TOKEN = "lmst_test"

Networks = Mapping[int, tuple[str, ...]]


def ident(number: int) -> str:
    """Return a readable id."""
    return f"00000000-0000-0000-0000-{number:012d}"


def domain(number: int = 1, *, hostname: str = "", port: int = 9, **changes: Any) -> Domain:
    """Return a domain with one origin on loopback."""
    origins = changes.pop("origins", (Origin(id=ident(1000 + number), address="127.0.0.1", port=port),))
    return Domain(id=ident(number), hostname=hostname or f"d{number}.example", origins=origins, **changes)


def snapshot(*domains: Domain, deny: Networks = {}, allow: Networks = {}) -> Snapshot:  # noqa: B006 - never changed
    """Return a snapshot in canonical order; `deny` and `allow`: {number of a domain: networks}."""
    scopes = sorted(deny.keys() | allow.keys())
    lists = [part for n in scopes for part in listings(ident(n), allow.get(n, ()), deny.get(n, ()))]
    by_hostname = tuple(sorted(domains, key=lambda d: d.hostname))
    return Snapshot(server_id=ident(0), domains=by_hostname, lists=tuple(lists))


def config(
    revision: int,
    *domains: Domain,
    allow_shrink: bool = False,
    deny: Networks = {},  # noqa: B006 - never changed
    allow: Networks = {},  # noqa: B006
) -> Config:
    """Return the message that brings a snapshot."""
    return sent(revision, snapshot(*domains, deny=deny, allow=allow), allow_shrink=allow_shrink)


def sent(revision: int, whole: Snapshot, *, allow_shrink: bool = False) -> Config:
    """Return the message that brings a snapshot which is there already."""
    data = whole.encode()
    return Config(
        epoch="e", revision=revision, digest=digest_of(data), snapshot=msgspec.Raw(data), allow_shrink=allow_shrink
    )


class Shield:
    """A state directory with everything that works on it."""

    def __init__(
        self,
        root: Path,
        port: int | None = None,
        on_step: Any = lambda step: None,
        *,
        address: str = "127.0.0.1",
        https: tuple[str, ...] = (),
        daemons: Sequence[Daemon] = (),
    ) -> None:
        self.state = State(root)
        self.state.create()
        if port is not None:
            listen = (f"{address}:{port}",)
            self.state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1", http=listen, https=https))
            self.state.token_file.write_text(TOKEN)
            make_default_certificate(self.state.default_certificate)
        settings = self.state.settings()
        self.port = int(settings.http[0].rpartition(":")[2])
        self.haproxy = Haproxy(self.state, settings.http, settings.https)
        self.haproxy.adopt()
        self.workers = Workers(self.state)
        self.events = EventLog(self.state.events, self.state.fifo, Locator(self.state))
        self.metrics = Metrics(self.state.spool_file, self.workers, self.events)
        self.applier = Applier(
            self.state,
            options_of(self.state),
            self.haproxy,
            Store(self.state.snapshot_file, TOKEN),
            daemons=daemons,
            before_reload=self.metrics.before_reload,
            on_step=on_step,
        )

    @classmethod
    def new(cls, root: Path) -> "Shield":
        """Make one on a free port."""
        return cls(root, free_port())

    def response(self, suspect: Callable[[Iterable[Challenged]], None] = lambda requests: None) -> AttackResponse:
        """Return what answers attacks here; a new one knows what the last one wrote down."""
        path = self.state.watches_file
        return AttackResponse(path, self.applier, self.workers, self.events, self.metrics, suspect)

    async def told(self, count: int = 1) -> list[Event]:
        """Return what it tells of at least `count` requests; HAProxy logs after it has answered."""
        found: list[Event] = []
        async with asyncio.timeout(20):
            while True:
                await self.metrics.collect()
                while (batch := self.metrics.first_waiting) is not None:
                    self.metrics.acknowledge(BatchAck(boot_id=batch.boot_id, seq=batch.seq))
                    found += batch.events
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End HAProxy."""
        self.haproxy.stop()
        await self.haproxy.end_master()
