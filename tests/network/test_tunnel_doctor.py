"""The doctor explains what really is wrong between two hosts."""

import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumos_agent.tunnel import Peer
from tests.network.handshake import initiation
from tests.network.hosts import Hosts, needs_hosts
from tests.network.shield import Shield
from tests.network.test_tunnels import Origin, snapshot

pytestmark = [needs_hosts, pytest.mark.integration]

LATER = 600.0


class Pair:
    """A shield with one tunnel, and the origin that it is for."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.one = hosts.add("shield", "192.0.2.1/24")
        self.two = hosts.add("origin", "192.0.2.2/24")
        self.one.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        server_id = str(uuid.uuid4())
        self.origin = Origin(self.two, f"o{server_id[:6]}", folder)
        peer = Peer(tunnel_id=str(uuid.uuid4()), name="web", address="10.97.0.2", keys=(self.origin.public,))
        self.shield = Shield(self.one, folder)
        assert "made" in self.shield.apply(snapshot(server_id, peer))["applied"]
        self.key = self.shield.report().keys[0].public_key

    def connect(self) -> None:
        """Let the origin dial."""
        self.origin.connect("10.97.0.2", self.key, "192.0.2.1:51820", "10.97.0.1")

    def says(self, words: str, *, later: float = 0.0) -> None:
        """Wait until the doctor says `words`."""
        deadline = time.monotonic() + 60
        while True:
            self.shield.report()
            found = self.shield.doctor(later=later)
            if any(words in text for problem in found for text in problem):
                return
            assert time.monotonic() < deadline, found
            time.sleep(0.2)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Hosts() as hosts:
        yield Pair(hosts, tmp_path)


def drop(chain: str, match: str) -> tuple[str, str]:
    hook = f"type filter hook {chain} priority 0; policy accept;"
    return "nft", f"table inet t {{ chain c {{ {hook} {match} drop; }}; }}"


def test_all_is_well(pair: Pair) -> None:
    pair.connect()
    pair.one.run("ping", "-c1", "-W20", "10.97.0.2")
    pair.shield.report()
    assert pair.shield.doctor() == []


def test_a_port_that_is_closed_here(pair: Pair) -> None:
    pair.one.run(*drop("input", "udp dport 51820"))
    pair.connect()
    pair.says("its own firewall drops them")


def test_a_port_that_is_closed_on_the_way(pair: Pair) -> None:
    pair.two.run(*drop("output", "udp dport 51820"))
    pair.connect()
    pair.says("nothing that it sends reaches UDP 51820")


def test_a_wrong_key(pair: Pair) -> None:
    pair.origin.new_key()
    pair.connect()
    pair.says("handshakes arrive with a key that this tunnel does not have")


def test_a_clock_that_was_set_back(pair: Pair) -> None:
    pair.connect()
    pair.one.run("ping", "-c1", "-W20", "10.97.0.2")
    ahead = initiation(pair.origin.key.read_text(), pair.key, int(time.time()) + 86_400)
    with pair.two.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(ahead, ("192.0.2.1", 51820))
    pair.two.run("ip", "link", "set", pair.origin.name, "down")
    pair.two.run("wg", "set", pair.origin.name, "peer", pair.key, "remove")
    pair.connect()
    pair.says("the origin's clock was set back", later=LATER)


def test_packets_that_are_too_large_for_the_way(pair: Pair) -> None:
    pair.connect()
    pair.one.run("ping", "-c1", "-W20", "10.97.0.2")
    pair.two.mtu(1400)
    pair.says("set the MTU to 1328")


def tools(folder: Path) -> str:
    """Return a search path that has wg and ip alone."""
    folder.mkdir()
    for name in ("wg", "ip"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def test_a_kernel_without_wireguard(pair: Pair, tmp_path: Path) -> None:
    if Path("/sys/module/wireguard").exists():
        pytest.skip("this kernel has the module")
    pair.shield.report()
    interface = next(
        line for line in pair.one.run("ip", "-br", "link").stdout.splitlines() if line.startswith("lumos-")
    )
    pair.one.run("ip", "link", "delete", "dev", interface.split()[0])
    found = pair.shield.doctor(path=tools(tmp_path / "tools"))
    assert "the kernel has no WireGuard module, and wireguard-go is not installed" in found[0][0]
