"""Lumos on a network of hosts: a control plane, two shields that serve a zone and a domain, an origin, a client."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.common import Api
from deploy.stack import BIN, ROOT, Stack
from lumos_agent.sealing import seal
from tests.agent.test_uploads import certificate
from tests.agent.zones import country_database
from tests.network.hosts import Host, Hosts
from tests.network.machine import Machine
from tests.network.resolving import Parents, proved, resolved
from tests.stack import BareStack

SECONDS = 120.0
ZONE, NAME = "edge.example", "www.edge.example"
HOLD_DOWN_SECONDS = 10
RESOLVER, CLIENT, ELSEWHERE = "192.0.2.53", "192.0.2.9", "192.0.2.109"


class _Stack(BareStack):
    """Here shields have addresses that are not the Internet's."""

    def environment(self) -> dict[str, str]:
        """What every process of the stack is told."""
        return {**super().environment(), "PROBE_PRIVATE_ADDRESSES": "on", "DNS_RESOLVERS": RESOLVER}


def until(happened: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for something that comes by itself; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


class Shield:
    """A shield on a host of its own, with an agent that reaches the gateway through a relay."""

    def __init__(self, edge: "Edge", host: Host) -> None:
        self.host, self.edge = host, edge
        made = edge.api("POST", "/servers", {"name": host.name, "public_ipv4": host.address})
        self.server = made["server"]["id"]
        self.state = edge.folder / host.name
        gateway = edge.stack.ports["gateway"]
        edge.relay(host, "127.0.0.1", gateway, edge.control.address)
        self._agent("enroll", "--url", f"ws://127.0.0.1:{gateway}/agent/v1", token=made["token"])
        country_database(self.state / "geo" / "country.mmdb", {f"{CLIENT}/32": ("DE", "EU")})
        self.start()

    def start(self) -> None:
        """Run the agent."""
        with (self.edge.folder / f"{self.host.name}.log").open("ab") as log:
            argv = (BIN / "lumos-agent", "--state-dir", self.state, "run")
            self.process = self.host.start(*argv, stdout=log, stderr=log, cwd=ROOT)

    def _agent(self, *words: str, token: str) -> None:
        listen = ("--http", f"{self.host.address}:80", "--https", f"{self.host.address}:443", "--local-http", "")
        argv: list[str | Path] = [BIN / "lumos-agent", "--state-dir", self.state, *words, *listen]
        until(
            lambda: self.host.run(*argv, check=False, env={**os.environ, "LUMOS_TOKEN": token}).returncode == 0,
            f"{self.host.name} does not enroll",
        )


class Edge:
    """All of it. `near` is the first in the domain's order, and answered in the client's country."""

    def __init__(self, hosts: Hosts, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.control = hosts.add("control", "192.0.2.10/24")
        self.client = hosts.add("client", f"{CLIENT}/24", f"{ELSEWHERE}/24")
        self.origin = hosts.add("origin", "192.0.2.5/24")
        self.origin.start(
            sys.executable, "-m", "http.server", "80", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.parents = Parents(hosts.add("parents", f"{RESOLVER}/24"), folder / "parents")
        self.control.inside(self.stack.start_control_plane)
        for role in ("gateway", "web"):
            self.relay(self.control, self.control.address, self.stack.ports[role], "127.0.0.1")
        self.near = Shield(self, hosts.add("near", "192.0.2.1/24"))
        self.far = Shield(self, hosts.add("far", "192.0.2.2/24"))

    def relay(self, host: Host, address: str, port: int, target: str) -> None:
        """Pass connections to a port on to the same port of another host."""
        host.start(sys.executable, "-m", "tests.network.relay", address, str(port), target, str(port), cwd=ROOT)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API from the control plane's host."""
        return self.control.inside(lambda: Api(self.stack).call(method, path, body))

    def configure(self) -> str:
        """Protect `NAME`, serve its zone, near for near clients, switch failover on; returns the domain's id."""
        servers = [self.near.server, self.far.server]
        origins = [{"address": self.origin.address, "port": 80}]
        domain = {"hostname": NAME, "origins": origins, "servers": servers, "certificate": "off"}
        domain_id: str = self.api("POST", "/domains", domain)["id"]
        self.zone = self.api("POST", "/zones", {"name": ZONE, "servers": servers})["id"]
        record = {"zone": self.zone, "name": "www", "type": "PROXIED", "data": "all", "ttl": 5}
        self.api("POST", "/zone-records", record | {"server": self.far.server})
        self.api("POST", "/zone-records", record | {"server": self.near.server, "place": "country:DE"})
        rule = {"mode": "all", "hold_down_seconds": HOLD_DOWN_SECONDS, "gap_seconds": 5}
        self.api("PUT", f"/domains/{domain_id}/failover", rule)
        return domain_id

    def delegate(self, digests: Iterable[str] = ()) -> None:
        """Enter the shields at the registrar, with the DS records of their keys."""
        nameservers = {f"ns{n}.{ZONE}": shield.host.address for n, shield in enumerate((self.near, self.far), 1)}
        self.parents.delegate(ZONE, nameservers, digests)

    def certify(self, domain_id: str) -> None:
        """Serve `NAME` with a certificate of its owner's, which `authority` is the file of."""
        recipients = f"/domains/{domain_id}/certificate-recipients"
        until(lambda: all(r["sealing_key"] for r in self.api("GET", recipients)), "no keys to seal to")
        chain, key = certificate(NAME)
        self.authority = self.folder / "authority.pem"
        self.authority.write_text(chain)
        keys = [
            {"server": r["server"], "sealed_key": seal(key, r["sealing_key"], domain_id)}
            for r in self.api("GET", recipients)
        ]
        self.api("POST", f"/domains/{domain_id}/certificate", {"chain": chain, "keys": keys})

    def visit(self, address: str) -> bool:
        """Whether a client with a strict browser gets the page at an address."""
        trust = ("--cacert", self.authority, "--resolve", f"{NAME}:443:{address}", f"https://{NAME}/")
        argv = ("curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", *trust)
        return self.client.run(*argv, check=False).stdout == "200"

    def resolve(self) -> list[str]:
        """Return the addresses of `NAME` that the client finds from the root down."""
        return resolved(self.client, self.parents.host.address, NAME)

    def proved(self, shield: Shield, digests: Iterable[str]) -> list[str]:
        """Return the addresses of `NAME` that a shield gives the client, who asks for proof by these DS records."""
        return proved(self.client, shield.host.address, ZONE, NAME, digests)

    def add_tunnel(self, name: str) -> tuple[str, str]:
        """Add a tunnel; returns its id and the command for its origin."""
        made = self.api("POST", "/tunnels", {"name": name})
        return made["tunnel"]["id"], made["command"]

    def join(self, command: str) -> Machine:
        """Let the origin join as a tunnel by the command of the dashboard."""
        self.relay(self.origin, "127.0.0.1", self.stack.ports["web"], self.control.address)
        machine = Machine(self.origin, self.folder / "origin")
        dashboard = f"curl -fs -o /dev/null {self.stack.web}/healthz"
        until(lambda: machine.run("sh", "-c", dashboard, check=False).returncode == 0, "no way to the dashboard")
        machine.run("sh", "-c", command.replace("sudo ", "env "))
        return machine

    def answer(self, shield: Shield, client: str = CLIENT) -> list[str]:
        """Return the addresses of `NAME` that a shield answers to a client."""
        argv = ("kdig", "+short", "+timeout=1", "+retry=0", "-b", client, f"@{shield.host.address}", NAME, "A")
        return sorted(self.client.run(*argv, check=False).stdout.split())

    def await_answer(self, shield: Shield, *expected: Host, within: float = SECONDS) -> float:
        """Wait until a shield answers these to the client; returns after how many seconds."""
        began, wanted = time.monotonic(), sorted(host.address for host in expected)
        until(lambda: self.answer(shield) == wanted, f"{shield.host.name} does not answer {wanted}", within)
        return time.monotonic() - began

    def await_verdict(self, shield: Shield, state: str) -> None:
        """Wait until the control plane judges a shield like that."""

        def is_judged() -> bool:
            with suppress(OSError):  # it may be starting
                found = self.api("GET", f"/servers/{shield.server}")["verdict"]
                return bool(found and found["state"] == state)
            return False

        until(is_judged, f"{shield.host.name} is not {state}")


@contextmanager
def edge() -> Iterator[Edge]:
    """Start everything, and leave nothing."""
    folder = Path(tempfile.mkdtemp(prefix="le-"))
    folder.chmod(0o755)
    stack = _Stack(folder / "s")
    with Hosts() as hosts:
        try:
            yield Edge(hosts, folder, stack)
        finally:
            stack.stop()
            shutil.rmtree(folder, ignore_errors=True)
