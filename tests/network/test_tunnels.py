"""Real WireGuard between hosts: the shield's driver and an origin that is set up by hand."""

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
