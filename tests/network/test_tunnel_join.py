"""Origins join by the command that the dashboard shows, and carry requests while keys change."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from accounts.tenancy import tenant_scope
from servers import tunnel_ends, tunnel_parts, tunnels
from servers.models import Server
from servers.services import add_server
from servers.tunnel_addresses import origin_address
from servers.tunnel_firewall import firewall_script
from servers.tunnel_models import Tunnel, TunnelShield, TunnelState
from tests import factories
from tests.network.control import Gateway, eventually, pages
from tests.network.hosts import Host, Hosts, needs_hosts
from tests.network.machine import Machine, needs_machine
from tests.network.shield import Shield

pytestmark = [
    needs_hosts,
    needs_machine,
    pytest.mark.integration,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(240),
]


class Edge:
    """A control plane, shields and origins on one network. Addresses: control .100, shields .1 …, origins .51 …"""

    def __init__(self, stack: ExitStack, folder: Path, settings: Any, *, shields: int, origins: int) -> None:
        self.tenant = factories.tenant("alice", "alice.example")
        hosts = stack.enter_context(Hosts())
        stack.enter_context(tenant_scope(self.tenant.account.pk))
        control = hosts.add("control", "192.0.2.100/24")
        settings.PUBLIC_URL, settings.ALLOWED_HOSTS = f"http://{control.address}", ["*"]
        self.shields: dict[Any, Shield] = {}
        for number in range(1, shields + 1):
            self._add_shield(hosts, folder, number)
        self.origins: list[Machine] = []
        for number in range(1, origins + 1):
            host = hosts.add(f"origin{number}", f"192.0.2.{50 + number}/24")
            self.origins.append(Machine(host, folder / host.name))
        stack.enter_context(pages(control))
        stack.enter_context(Gateway(self.tenant.account.pk, self.shields))

    def _add_shield(self, hosts: Hosts, folder: Path, number: int) -> None:
        address = f"192.0.2.{number}"
        server = self.tenant.server
        if number > 1:
            server, _ = add_server(name=f"shield-{number}", actor=self.tenant.owner)
        Server.objects.filter(pk=server.pk).update(public_ipv4=address)
        state = folder / f"shield{number}"
        state.mkdir()
        self.shields[server.pk] = Shield(hosts.add(f"shield{number}", f"{address}/24"), state)

    def connect(self, name: str, origin: Machine) -> Tunnel:
        """Add a tunnel, wait for the shields' keys, and run the command on the origin."""
        tunnel, token = tunnels.add_tunnel(name=name, actor=self.tenant.owner)
        eventually(lambda: not TunnelShield.objects.filter(public_key="").exists(), "no keys")
        origin.run("sh", "-c", tunnels.join_line(token).replace("sudo ", "env "))
        tunnel.refresh_from_db()
        return tunnel

    def ways(self, tunnel: Tunnel) -> list[tuple[Host, str]]:
        """Return the shields with the address that each has for an origin."""
        network = tunnel_parts.network().network
        places = dict(TunnelShield.objects.values_list("server_id", "place"))
        return [(s.host, origin_address(network, places[pk], tunnel.place)) for pk, s in self.shields.items()]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def serve(origin: Machine) -> None:
    """Start a web server on all addresses of an origin."""
    origin.start("python3", "-m", "http.server", "--directory", "/run/wireguard", "8080", stderr=subprocess.DEVNULL)


def test_two_origins_and_three_shields_come_up_by_the_command_alone(
    stack: ExitStack, tmp_path: Path, settings: Any
) -> None:
    edge = Edge(stack, tmp_path, settings, shields=3, origins=2)
    for number, origin in enumerate(edge.origins):
        serve(origin)
        tunnel = edge.connect(f"web-{number}", origin)
        for host, address in edge.ways(tunnel):
            host.run(
                "curl", "-sf", "--retry", "20", "--retry-all-errors", "--max-time", "30", f"http://{address}:8080/"
            )
    alive = TunnelState.objects.filter(tunnel_ends.alive())
    eventually(lambda: alive.count() == 6, "not all tunnels are reported")
    origin, (host, address) = edge.origins[0], edge.ways(Tunnel.objects.get(name="web-0"))[2]
    public = f"http://{origin.host.address}:8080/"
    script = tmp_path / "lumos-origin.sh"
    script.write_text(firewall_script("nftables", tunnel_parts.shield_addresses(), [8080]))
    host.run("curl", "-sf", "--max-time", "30", public)
    origin.run("sh", script)
    assert host.run("curl", "-sf", "--max-time", "3", public, check=False).returncode != 0
    host.run("curl", "-sf", "--max-time", "30", f"http://{address}:8080/")
    origin.run("curl", "-sf", "--max-time", "30", "http://127.0.0.1:8080/")
    refused = origin.run("env", "SSH_CONNECTION=192.0.2.9 5000 192.0.2.51 8080", "sh", script, check=False)
    assert "lock you out" in refused.stderr
    origin.run("sh", script, "undo")
    host.run("curl", "-sf", "--max-time", "30", public)


class Load:
    """Requests from a shield to an origin, from the first that succeeds until `end`."""

    def __init__(self, host: Host, address: str) -> None:
        argv = (sys.executable, "-m", "tests.network.load", address, "8080")
        self._process = host.start(*argv, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"{}\n"
        self._pings = host.start("ping", "-q", "-i", "0.01", address, stdout=subprocess.PIPE)

    def end(self) -> dict[str, float]:
        """Return what happened; `lost_seconds` is how long packets were lost, by pings every 10 ms."""
        self._process.terminate()
        self._pings.send_signal(signal.SIGINT)
        found: dict[str, float] = json.loads(self._process.communicate(timeout=60)[0])
        said = self._pings.communicate(timeout=60)[0].decode()
        sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", said)[0])
        return found | {"lost_seconds": (sent - received) / 100}


def test_no_request_fails_while_a_shield_and_then_the_origin_change_their_keys(
    stack: ExitStack, tmp_path: Path, settings: Any
) -> None:
    edge = Edge(stack, tmp_path, settings, shields=2, origins=1)
    (origin,) = edge.origins
    serve(origin)
    tunnel = edge.connect("web", origin)
    host, address = edge.ways(tunnel)[0]
    load = Load(host, address)
    end = TunnelShield.objects.get(server=edge.tenant.server)
    alive = TunnelState.objects.filter(tunnel_ends.alive())
    eventually(lambda: alive.count() == 2, "not all tunnels are reported")

    tunnel_ends.rotate_shield_key(end=end, actor=edge.tenant.owner)
    eventually(lambda: TunnelShield.objects.exclude(next_public_key="").exists(), "no new key")
    assert tunnel_ends.waiting_for(end) == ["web"]
    origin.run("lumos-tunnel", "refresh")
    eventually(lambda: TunnelShield.objects.filter(pk=end.pk, key_number=2).exists(), "the old key did not end")
    by_shield = load.end()
    TunnelShield.objects.get(pk=end.pk, rotation_began_at=None, next_public_key="")

    load = Load(host, address)
    tunnels.want_new_key(tunnel=tunnel, actor=edge.tenant.owner)
    origin.run("lumos-tunnel", "refresh")
    eventually(lambda: Tunnel.objects.exclude(public_key=tunnel.public_key).filter(next_public_key=""), "old key")
    by_origin = load.end()
    assert (by_shield["failed"], by_origin["failed"]) == (0, 0)
    assert max(by_shield["lost_seconds"], by_origin["lost_seconds"]) < 1
    for way in edge.ways(tunnel):
        way[0].run("curl", "-sf", "--max-time", "30", f"http://{way[1]}:8080/")


def test_a_command_works_once_and_the_origin_can_leave(stack: ExitStack, tmp_path: Path, settings: Any) -> None:
    edge = Edge(stack, tmp_path, settings, shields=1, origins=2)
    first, second = edge.origins
    tunnel, token = tunnels.add_tunnel(name="web", actor=edge.tenant.owner)
    eventually(lambda: not TunnelShield.objects.filter(public_key="").exists(), "no keys")
    line = tunnels.join_line(token).replace("sudo ", "env ")
    first.run("sh", "-c", line)
    again = second.run("sh", "-c", line, check=False)
    assert again.returncode != 0
    assert "was used" in again.stderr
    key = first.run("cat", "/etc/lumos-tunnel/private.key").stdout
    line = tunnels.join_line(tunnels.open_join(tunnel=tunnel, actor=edge.tenant.owner)).replace("sudo ", "env ")
    first.run("sh", "-c", line)
    assert first.run("cat", "/etc/lumos-tunnel/private.key").stdout == key
    assert "peer" in first.run("lumos-tunnel", "status").stdout
    first.run("lumos-tunnel", "uninstall")
    assert "lumos0" not in first.run("ip", "link").stdout
    left = first.run(
        "sh", "-c", "ls /etc/lumos-tunnel /usr/local/sbin/lumos-tunnel /etc/cron.d/lumos-tunnel", check=False
    )
    assert left.stdout == ""
