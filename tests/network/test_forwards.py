"""Forwards between hosts: TCP through HAProxy, UDP through nftables."""

import asyncio
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lumos_agent.config import Settings, State
from lumos_agent.daemons import Daemons
from lumos_agent.drivers.forwards import TcpForwards
from lumos_agent.drivers.nftables import Nftables
from lumos_agent.errors import ApplyError
from lumos_agent.forward import Forward
from lumos_agent.schema import Snapshot
from tests.agent.builders import ident
from tests.network.hosts import Host, Hosts, needs_hosts

pytestmark = [pytest.mark.integration, needs_hosts]

SHIELD, OTHER, TARGET, CLIENT = "192.0.2.1", "192.0.2.6", "192.0.2.7", "192.0.2.9"
SHIELD6, TARGET6, CLIENT6 = "2001:db8::1", "2001:db8::7", "2001:db8::9"


def forward(port: int, **changes: Any) -> Forward:
    given: dict[str, Any] = {"id": ident(port), "protocol": "udp", "port": port, "target": TARGET, "target_port": 9000}
    return Forward(**given | changes)


def tcp(port: int, **changes: Any) -> Forward:
    return forward(port, protocol="tcp", **changes)


class Network:
    """A client, a shield with its two daemons, and two targets that say who they are and what they heard."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.client = hosts.add("client", f"{CLIENT}/24", f"{CLIENT6}/64")
        self.shield = hosts.add("shield", f"{SHIELD}/24", f"{SHIELD6}/64")
        self.targets = [hosts.add("target", f"{TARGET}/24", f"{TARGET6}/64"), hosts.add("other", f"{OTHER}/24")]
        self.state = State(folder)
        self.state.create()
        self.state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1"))
        self.tcp, self.udp = TcpForwards(self.state), Nftables(self.state)
        self._daemons = Daemons([self.tcp, self.udp])

    def apply(self, *forwards: Forward) -> str:
        wanted = Snapshot(server_id=ident(0), domains=(), forwards=forwards)

        async def go() -> str:
            await self._daemons.check(wanted)
            return await self._daemons.apply(wanted)

        return str(self.on_shield(go))

    def keep(self, *forwards: Forward) -> str:
        wanted = Snapshot(server_id=ident(0), domains=(), forwards=forwards)
        return str(self.on_shield(lambda: self._daemons.keep(wanted)))

    def on_shield(self, call: Callable[[], Any]) -> Any:
        return self.shield.inside(lambda: asyncio.run(call()))

    def udp_client(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        made: socket.socket = self.client.inside(lambda: socket.socket(family, socket.SOCK_DGRAM))
        made.settimeout(5)
        return made

    def connect(self, port: int) -> socket.socket:
        made: socket.socket = self.client.inside(lambda: socket.create_connection((SHIELD, port), timeout=10))
        return made


@pytest.fixture
def network() -> Iterator[Network]:
    with tempfile.TemporaryDirectory(prefix="la-") as folder, Hosts() as hosts:
        made = Network(hosts, Path(folder))
        with listening(made.targets[0]), listening(made.targets[1]):
            yield made


@contextmanager
def listening(host: Host) -> Iterator[None]:
    """Answer UDP and TCP on port 9000: who I am, whom I see, what I heard; TCP at the end of what it hears."""
    ended = threading.Event()
    udp = host.inside(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    streams = host.inside(lambda: socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True))
    udp.bind(("::", 9000))

    def packets() -> None:
        while not ended.is_set():
            data, sender = udp.recvfrom(2048)
            udp.sendto(b"%s %s %s" % (host.name.encode(), sender[0].removeprefix("::ffff:").encode(), data), sender)

    def connections() -> None:
        while not ended.is_set():
            threading.Thread(target=answer, args=(host.name, streams.accept()[0]), daemon=True).start()

    threads = [threading.Thread(target=work, daemon=True) for work in (packets, connections)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        host.inside(lambda: socket.create_connection(("127.0.0.1", 9000)).close())
        host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9000)))
        for thread in threads:
            thread.join()
        udp.close()
        streams.close()


def answer(name: str, stream: socket.socket) -> None:
    """Say back what is heard, until the client ends or leaves."""
    with suppress(ConnectionError), stream, stream.makefile("rb") as lines:
        for line in lines:
            stream.sendall(name.encode() + b" " + line)
        stream.sendall(name.encode() + b" heard the end\n")


def asked(stream: socket.socket, text: str) -> str:
    stream.sendall(text.encode() + b"\n")
    return stream.recv(2048).decode().strip()


def echoed(stream: socket.socket, text: str, port: int, shield: str = SHIELD) -> str:
    stream.sendto(text.encode(), (shield, port))
    return stream.recv(2048).decode()


def test_udp_reaches_the_target_and_comes_back_by_both_families(network: Network) -> None:
    assert network.apply(forward(27015), forward(27016, target=TARGET6)) == "nftables: 2 UDP ports"
    with closing(network.udp_client()) as client:
        assert echoed(client, "hello", 27015) == f"target {SHIELD} hello"
    with closing(network.udp_client(socket.AF_INET6)) as client:
        assert echoed(client, "hello", 27016, SHIELD6) == f"target {SHIELD6} hello"
    assert network.apply(forward(27015), forward(27016, target=TARGET6)) == ""
    counts = network.on_shield(network.udp.counts)
    assert {port: (packets_in, packets_out) for port, (packets_in, _, packets_out, _) in counts.items()} == {
        27015: (1, 1),
        27016: (1, 1),
    }


def test_change_of_one_target_moves_its_sessions_and_disturbs_no_other(network: Network) -> None:
    network.apply(forward(27015), forward(27016))
    with closing(network.udp_client()) as moved, closing(network.udp_client()) as stays:
        assert echoed(moved, "1", 27015).startswith("target")
        assert echoed(stays, "1", 27016).startswith("target")
        network.apply(forward(27015, target=OTHER), forward(27016))
        assert echoed(moved, "2", 27015).startswith("other")
        assert echoed(stays, "2", 27016).startswith("target")
        counts = network.on_shield(network.udp.counts)
        assert (counts[27015][0], counts[27016][0]) == (2, 2)
        network.apply(forward(27016))
        assert echoed(stays, "3", 27016).startswith("target")
        assert network.on_shield(network.udp.counts).keys() == {27016}


def test_host_keeps_its_own_rules_and_forwards_nothing_else(network: Network) -> None:
    network.shield.run("nft", "add table inet mine; add chain inet mine in { type filter hook input priority 0; }")
    network.client.ip("route", "add", "198.51.100.0/24", "via", SHIELD)
    network.targets[0].ip("address", "add", "198.51.100.7/24", "dev", "eth0")
    network.shield.ip("route", "add", "198.51.100.0/24", "dev", "eth0")
    network.apply(forward(27015))
    assert network.client.run("ping", "-c1", "-W1", "198.51.100.7", check=False).returncode != 0
    assert "table inet mine" in network.shield.run("nft", "list", "tables").stdout
    assert network.apply() == "nftables: removed"
    assert network.shield.run("nft", "list", "tables").stdout == "table inet mine\n"
    assert network.shield.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "0\n"


def test_table_that_somebody_flushed_comes_back(network: Network) -> None:
    network.apply(forward(27015))
    network.shield.run("nft", "flush", "ruleset")
    assert network.keep(forward(27015)) == "nftables: 1 UDP port"
    with closing(network.udp_client()) as client:
        assert echoed(client, "hello", 27015).startswith("target")
    network.shield.run("nft", "flush", "ruleset")
    assert network.keep() == ""
    network.shield.run("nft", "add table inet lumos; add chain inet lumos left")
    assert network.keep() == "nftables: removed"


def test_changes_of_something_else_do_not_ask_the_kernel(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    network.apply(forward(27015))
    monkeypatch.setattr("lumos_agent.drivers.nftables.run", None)
    assert network.apply(forward(27015)) == ""
    monkeypatch.undo()
    assert network.apply() == "nftables: removed"
    monkeypatch.setattr("lumos_agent.drivers.nftables.run", None)
    assert network.apply() == ""


def test_packets_over_the_limit_of_a_source_are_dropped(network: Network) -> None:
    network.apply(forward(27015, packets_per_second=5))
    with closing(network.udp_client()) as client:
        for number in range(200):
            client.sendto(b"%d" % number, (SHIELD, 27015))
        assert client.recv(2048).startswith(b"target")
    assert network.on_shield(network.udp.counts)[27015][0] < 100


def test_tcp_half_close_and_long_connections_survive_changes_of_others(network: Network) -> None:
    assert network.apply(tcp(2222)).startswith("TCP forwards: started")
    with network.connect(2222) as long:
        assert asked(long, "1") == "target 1"
        assert network.apply(tcp(2222), tcp(2223, target=OTHER)) == "TCP forwards: reloaded with 2 ports"
        assert network.apply(tcp(2222), tcp(2223)) == "TCP forwards: 1 target changed"
        with network.connect(2223) as other:
            assert asked(other, "1") == "target 1"
        assert network.apply(tcp(2222), tcp(2223)) == ""
        assert asked(long, "2") == "target 2"
        long.shutdown(socket.SHUT_WR)
        assert long.recv(2048) == b"target heard the end\n"
    assert network.apply() == "TCP forwards: stopped"


def test_target_learns_the_client_by_the_proxy_protocol(network: Network) -> None:
    network.apply(tcp(2222, proxy_protocol="v1"))
    with network.connect(2222) as stream:
        assert asked(stream, "hello").startswith(f"target PROXY TCP4 {CLIENT} {SHIELD} ")


def test_connections_of_one_address_are_limited(network: Network) -> None:
    network.apply(tcp(2222, connections=2))
    with network.connect(2222) as one, network.connect(2222) as two:
        assert asked(one, "1") == asked(two, "1") == "target 1"
        with network.connect(2222) as three, pytest.raises((ConnectionError, AssertionError)):
            assert asked(three, "1")


def test_port_that_is_taken_is_refused_with_haproxys_words_and_the_others_go_on(network: Network) -> None:
    network.apply(tcp(2222))
    with closing(network.shield.inside(lambda: socket.create_server(("0.0.0.0", 2300)))):
        with pytest.raises(ApplyError, match="2300") as caught:
            network.apply(tcp(2222), tcp(2300))
        assert caught.value.stage == "reload"
    with network.connect(2222) as stream:
        assert asked(stream, "1") == "target 1"
    assert network.apply(tcp(2222), tcp(2301)).startswith("TCP forwards: ")
    with network.connect(2301) as stream:
        assert asked(stream, "1") == "target 1"
