"""Limits and bans in the kernel, between hosts."""

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lumos_agent.bans import offenders
from lumos_agent.config import Settings, State
from lumos_agent.drivers.nftables import Nftables
from lumos_agent.flood import FloodLimits
from lumos_agent.guard import Guard, RateRule
from lumos_agent.protocol import Event
from lumos_agent.schema import Snapshot
from tests.agent.builders import domain, ident, snapshot
from tests.network.hosts import Host, Hosts, needs_hosts

SHIELD, CLIENT, OTHER = "192.0.2.1", "192.0.2.9", "192.0.2.10"
SHIELD6, CLIENT6 = "2001:db8::1", "2001:db8:9::9"


class Network:
    """A shield that listens on ports 80 and 22, and two clients."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.shield = hosts.add("shield", f"{SHIELD}/24", f"{SHIELD6}/32")
        self.client = hosts.add("client", f"{CLIENT}/24", f"{CLIENT6}/32")
        self.other = hosts.add("other", f"{OTHER}/24")
        state = State(folder)
        state.create()
        state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1"))
        self.kernel = Nftables(state)

    def on_shield(self, call: Callable[[], Any]) -> Any:
        return self.shield.inside(lambda: asyncio.run(call()))

    def apply(self, flood: FloodLimits) -> None:
        wanted = Snapshot(server_id=ident(0), domains=(), flood=flood)

        async def go() -> None:
            await self.kernel.check(wanted)
            await self.kernel.apply(wanted)

        self.on_shield(go)


def reaches(host: Host, port: int = 80, address: str = SHIELD) -> socket.socket | None:
    """Return a connection, or None if nobody hears the SYN within a second."""
    try:
        made: socket.socket = host.inside(lambda: socket.create_connection((address, port), timeout=1))
    except TimeoutError:
        return None
    return made


def is_heard(host: Host, port: int = 80, address: str = SHIELD) -> bool:
    connection = reaches(host, port, address)
    if connection is not None:
        connection.close()
    return connection is not None


@pytest.fixture
def network() -> Iterator[Network]:
    with tempfile.TemporaryDirectory(prefix="la-") as folder, Hosts() as hosts, ExitStack() as stack:
        made = Network(hosts, Path(folder))
        for port in (80, 22):
            listener = made.shield.inside(
                partial(socket.create_server, ("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            )
            stack.enter_context(closing(listener))
        yield made


@pytest.mark.integration
@needs_hosts
def test_banned_client_is_not_heard_at_the_sites_and_nobody_is_locked_out(network: Network) -> None:
    network.apply(FloodLimits(bans=True))
    assert is_heard(network.client)
    for _ in range(2):
        network.on_shield(lambda: network.kernel.ban([f"{CLIENT}/32", "2001:db8:9::/64"]))
    assert not is_heard(network.client)
    assert not is_heard(network.client, address=SHIELD6)
    assert is_heard(network.client, port=22)
    assert is_heard(network.other)
    clients, dropped, _ = network.on_shield(network.kernel.flood_counts)
    assert (clients, dropped > 0) == (2, True)
    network.apply(FloodLimits(bans=True, connections=100))
    assert not is_heard(network.client)
    network.apply(FloodLimits(bans=True, connections=100, spared=(f"{CLIENT}/32",)))
    assert is_heard(network.client)
    network.apply(FloodLimits())
    assert is_heard(network.client, address=SHIELD6)


@pytest.mark.integration
@needs_hosts
def test_connections_of_one_client_are_limited_at_once_and_per_second(network: Network) -> None:
    network.apply(FloodLimits(connections=3))
    with ExitStack() as stack:
        opened = [reaches(network.client) for _ in range(4)]
        for connection in opened:
            if connection is not None:
                stack.enter_context(connection)
        assert [connection is not None for connection in opened] == [True, True, True, False]
        assert is_heard(network.other)
    network.apply(FloodLimits(new_per_second=2))
    assert sum(is_heard(network.other) for _ in range(5)) < 5
    assert network.on_shield(network.kernel.flood_counts)[2] > 0
    network.apply(FloodLimits(new_per_second=2, spared=("192.0.2.0/24",)))
    assert all(is_heard(network.other) for _ in range(10))


def event(client: str, **changes: Any) -> Event:
    given: dict[str, Any] = {
        "request_id": "r", "time": 1.0, "domain_id": ident(1), "client": client, "method": "GET", "host": "h",
        "path": "/", "rules": ("rate:login",), "action": "limit",
    }  # fmt: skip
    return Event(**given | changes)


def test_offenders_are_those_whose_rate_bans_and_whom_nobody_spares() -> None:
    rates = (RateRule(id="login", requests=5, action="ban"), RateRule(id="all", requests=9))
    runs = snapshot(domain(guard=Guard(rates=rates)))
    found = offenders(
        [
            event("203.0.113.1"),
            event("2001:db8:1:2:3::4"),
            event("203.0.113.2", rules=("rate:all",)),
            event("203.0.113.3", action="block"),
            event("203.0.113.4", domain_id=ident(2)),
            event("127.0.0.1"),
            event("nonsense"),
        ],
        runs,
    )
    assert found == {"203.0.113.1/32", "2001:db8:1:2::/64"}
    spared = Snapshot(
        server_id=ident(0), domains=runs.domains, flood=FloodLimits(bans=True, spared=("203.0.113.0/24",))
    )
    assert offenders([event("203.0.113.1")], spared) == set()
