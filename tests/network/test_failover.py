"""A shield is cut off the network, not stopped: its name is answered without it, with and without the control plane."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.network.edge import NAME, Edge, edge, until
from tests.network.hosts import needs_hosts
from tests.network.machine import needs_machine

pytestmark = [
    pytest.mark.e2e,
    needs_hosts,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("stack"),
    # Connections to hosts that are cut off end as they may.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def network() -> Iterator[Edge]:
    with edge() as made:
        yield made


@pytest.fixture(scope="module")
def domain(network: Edge) -> str:
    """Configure everything, and wait until both shields are seen and answer with the near one."""
    made = network.configure()
    for shield in (network.near, network.far):
        network.await_verdict(shield, "up")
        network.await_answer(shield, network.near.host)
    until(lambda: _visit(network, network.near.host.address), "the near shield does not serve")
    return made


def _visit(network: Edge, address: str) -> bool:
    argv = (
        "curl",
        "-s",
        "-m",
        "5",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        f"Host: {NAME}",
        f"http://{address}/",
    )
    return network.client.run(*argv, check=False).stdout == "200"


@needs_machine
def test_origin_is_reached_through_its_tunnel_alone(network: Edge, domain: str) -> None:
    tunnel, machine = network.join("web")
    network.api("PATCH", f"/domains/{domain}", {"origins": [{"address": "web.tunnel", "port": 80}]})
    script = network.folder / "lumos-origin.sh"
    script.write_text(network.api("GET", f"/tunnels/{tunnel}/firewall?ports=80")["script"])
    machine.run("sh", script)
    public = ("curl", "-s", "-o", "/dev/null", "-m", "2", f"http://{network.origin.address}/")
    assert network.client.run(*public, check=False).returncode != 0
    for address in (network.near.host.address, network.far.host.address):
        until(partial(_visit, network, address), f"{address} does not reach the origin")


def test_with_the_control_plane(network: Edge, domain: str) -> None:
    near, far = network.near.host, network.far.host
    with near.apart():
        network.await_answer(network.far, far)
        network.await_verdict(network.near, "down")
        assert _visit(network, far.address)
    network.await_answer(network.far, near)
    network.await_answer(network.near, near)
    story = network.api("GET", f"/domains/{domain}/failover/decisions")["results"][:2]
    assert [(entry["cause"], entry["answered"]) for entry in story] == [("returned", ["near"]), ("failed", ["far"])]
    evidence = story[1]["evidence"][network.near.server]
    assert evidence["state"] == "down"
    assert any("192.0.2.1 does not answer" in reason for reason in evidence["reasons"])


def test_an_agent_that_ends_moves_nothing(network: Edge, domain: str) -> None:
    """HAProxy goes on, and others see it: degraded at worst, and answered."""
    network.near.process.terminate()
    network.near.process.wait(60)
    assert _visit(network, network.near.host.address)
    network.near.start()
    network.await_verdict(network.near, "up")
    network.await_answer(network.far, network.near.host)
    newest = network.api("GET", f"/domains/{domain}/failover/decisions")["results"][0]
    assert newest["cause"] in ("returned", "first")


def test_without_the_control_plane(network: Edge, domain: str) -> None:
    near, far = network.near.host, network.far.host
    network.stack.control("stop", "app:*")
    try:
        with near.apart():
            network.await_answer(network.far, far)
        network.await_answer(network.far, near)
    finally:
        network.stack.control("start", "app:*")
    network.await_verdict(network.near, "up")
    network.await_answer(network.far, near)
