"""Real WireGuard between hosts: the shield's driver and an origin that is set up by hand."""

import socket
import uuid
from pathlib import Path

import pytest

from lumos_agent.schema import Snapshot
from lumos_agent.tunnel import Interface, Peer, Tunnels
from tests.network.hosts import Host, Hosts, needs_hosts
from tests.network.shield import Shield

pytestmark = [needs_hosts, pytest.mark.integration]


class Origin:
    """A host that was given a WireGuard configuration by hand."""

    def __init__(self, host: Host, name: str, folder: Path) -> None:
        self.host, self.name = host, name
        self.key = folder / f"{host.name}.key"
        self.public = self.new_key()
        host.run("wireguard-go", name)

    def new_key(self) -> str:
        private = self.host.run("wg", "genkey").stdout
        self.key.write_text(private)
        return self.host.run("wg", "pubkey", input=private).stdout.strip()

    def connect(self, address: str, key: str, endpoint: str, shield: str) -> None:
        self.host.run("wg", "set", self.name, "private-key", self.key, "peer", key, "endpoint", endpoint,
                      "allowed-ips", f"{shield}/32", "persistent-keepalive", "25")  # fmt: skip
        self.host.run("ip", "address", "replace", f"{address}/32", "dev", self.name)
        self.host.run("ip", "link", "set", self.name, "mtu", "1420", "up")
        self.host.run("ip", "route", "replace", f"{shield}/32", "dev", self.name)


def snapshot(server_id: str, *peers: Peer, numbers: tuple[int, ...] = (1,)) -> Snapshot:
    interfaces = tuple(Interface(number=n, port=51820 + (n + 1) % 2) for n in numbers)
    tunnels = Tunnels(address="10.97.0.1", network="10.97.0.0/16", interfaces=interfaces, peers=peers)
    return Snapshot(server_id=server_id, domains=(), tunnels=tunnels)


def test_a_tunnel_comes_up_and_outlives_the_agent(tmp_path: Path) -> None:
    with Hosts() as hosts:
        one, two = hosts.add("shield", "192.0.2.1/24"), hosts.add("origin", "192.0.2.2/24")
        server_id = str(uuid.uuid4())
        origin = Origin(two, f"o{server_id[:6]}", tmp_path)
        peer = Peer(tunnel_id=str(uuid.uuid4()), name="web", address="10.97.0.2", keys=(origin.public,))
        shield = Shield(one, tmp_path)
        assert "made" in shield.apply(snapshot(server_id, peer))["applied"]
        assert shield.apply(snapshot(server_id, peer)) == {"applied": ""}
        report = shield.report()
        assert report.states[0].handshake_at == 0
        origin.connect("10.97.0.2", report.keys[0].public_key, "192.0.2.1:51820", "10.97.0.1")
        one.run("ping", "-c1", "-W20", "10.97.0.2")
        assert shield.report().states[0].handshake_at > 0
        shield.stop()
        one.run("ping", "-c1", "-W5", "10.97.0.2")
        again = Shield(one, tmp_path)
        assert again.apply(snapshot(server_id, peer)) == {"applied": ""}
        assert again.report().keys == report.keys
        assert "removed" in again.apply(Snapshot(server_id=server_id, domains=()))["applied"]
        assert "lumos-" not in one.run("ip", "link").stdout
        assert not list(tmp_path.glob("tunnels/key-*"))


def test_origins_do_not_reach_each_other_through_a_shield(tmp_path: Path) -> None:
    with Hosts() as hosts:
        one = hosts.add("shield", "192.0.2.1/24")
        one.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        server_id = str(uuid.uuid4())
        machines = [hosts.add(f"origin{n}", f"192.0.2.{n}/24") for n in (2, 3)]
        origins = [Origin(host, f"o{n}{server_id[:6]}", tmp_path) for n, host in enumerate(machines)]
        peers = [
            Peer(tunnel_id=str(uuid.uuid4()), name=f"web-{n}", address=f"10.97.0.{n + 2}", keys=(origin.public,))
            for n, origin in enumerate(origins)
        ]
        shield = Shield(one, tmp_path)
        assert "made" in shield.apply(snapshot(server_id, *peers))["applied"]
        key = shield.report().keys[0].public_key
        for origin, peer in zip(origins, peers, strict=True):
            origin.connect(peer.address, key, "192.0.2.1:51820", "10.97.0.1")
            origin.host.run("wg", "set", origin.name, "peer", key, "allowed-ips", "10.97.0.0/16")
            origin.host.run("ip", "route", "add", "10.97.0.0/16", "dev", origin.name)
            one.run("ping", "-c1", "-W20", peer.address)
        refused = machines[0].run("ping", "-c1", "-W5", "10.97.0.3", check=False)
        assert "Unreachable" in refused.stdout
        one.run("ip", "rule", "delete", "iif", f"lumos-{server_id[:6]}-1")
        machines[0].run("ping", "-c1", "-W5", "10.97.0.3")


def test_a_shield_whose_tunnels_died_finds_its_origins_again(tmp_path: Path) -> None:
    with Hosts() as hosts:
        one, two = hosts.add("shield", "192.0.2.1/24"), hosts.add("origin", "192.0.2.2/24")
        server_id = str(uuid.uuid4())
        origin = Origin(two, f"o{server_id[:6]}", tmp_path)
        peer = Peer(tunnel_id=str(uuid.uuid4()), name="web", address="10.97.0.2", keys=(origin.public,))
        shield = Shield(one, tmp_path)
        shield.apply(snapshot(server_id, peer))
        key = shield.report().keys[0].public_key
        origin.connect("10.97.0.2", key, "192.0.2.1:51820", "10.97.0.1")
        one.run("ping", "-c1", "-W20", "10.97.0.2")
        assert shield.apply(snapshot(server_id, peer)) == {"applied": ""}
        one.run("ip", "link", "delete", "dev", f"lumos-{server_id[:6]}-1")
        assert "made" in shield.apply(snapshot(server_id, peer))["applied"]
        one.run("ping", "-c1", "-W20", "10.97.0.2")
        assert shield.report().keys[0].public_key == key


def test_a_port_of_somebody_else_is_refused_before_anything_changes(tmp_path: Path) -> None:
    with Hosts() as hosts:
        one = hosts.add("shield", "192.0.2.1/24")
        with one.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
            other.bind(("0.0.0.0", 51820))
            answer = Shield(one, tmp_path).apply(snapshot(str(uuid.uuid4())))
        assert "another program has UDP port 51820" in answer["refused"]
        assert "lumos-" not in one.run("ip", "link").stdout
