"""Origins join by the command that the dashboard shows, and carry requests while keys change."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from accounts.tenancy import tenant_scope
from servers import tunnel_ends, tunnels
from servers.models import Server
from servers.services import add_server
from servers.tunnel_addresses import origin_address
from servers.tunnel_models import Tunnel, TunnelShield, TunnelState
from tests import factories
from tests.network.control import Gateway, eventually, pages
from tests.network.hosts import Host, Hosts, needs_hosts
from tests.network.machine import Machine
from tests.network.shield import Shield

pytestmark = [needs_hosts, pytest.mark.integration, pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


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
        network = tunnel_ends.network().network
        places = dict(TunnelShield.objects.values_list("server_id", "place"))
        return [(s.host, origin_address(network, places[pk], tunnel.place)) for pk, s in self.shields.items()]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def serve(origin: Machine) -> None:
    """Start a web server on all addresses of an origin."""
    origin.start("python3", "-m", "http.server", "--directory", "/run/wireguard", "8080")


def test_two_origins_and_three_shields_come_up_by_the_command_alone(
    stack: ExitStack, tmp_path: Path, settings: Any
) -> None:
    edge = Edge(stack, tmp_path, settings, shields=3, origins=2)
    for number, origin in enumerate(edge.origins):
        serve(origin)
        tunnel = edge.connect(f"web-{number}", origin)
        for host, address in edge.ways(tunnel):
            host.run("curl", "-sf", "--retry", "20", "--retry-connrefused", "--max-time", "30", f"http://{address}:8080/")
    alive = TunnelState.objects.filter(tunnel_ends.alive())
    eventually(lambda: alive.count() == 6, "not all tunnels are reported")
    (_, first), (_, second) = edge.ways(Tunnel.objects.get(name="web-0"))[:2]
    assert edge.origins[1].run("ping", "-c1", "-W1", first, check=False).returncode != 0
    assert first != second
