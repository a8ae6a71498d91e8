"""The whole way of a visitor between hosts, from the delegation of the zone to an origin that nobody else reaches.

The near shield is then cut off the network, not stopped: its name is answered without it, with and without the control
plane. The tests are one story and run in this order.
"""

from collections.abc import Iterator
from functools import partial

import pytest
from dns.exception import ValidationFailure

from tests.network.edge import ELSEWHERE, Edge, edge, until
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
# What is promised, in seconds from the cut to the other answer.
WITH_CONTROL_PLANE, WITHOUT_CONTROL_PLANE = 30.0, 60.0


@pytest.fixture(scope="module")
def network() -> Iterator[Edge]:
    with edge() as made:
        yield made


@pytest.fixture(scope="module")
def domain(network: Edge) -> str:
    """Configure everything, delegate the zone, and wait until both shields are seen and answer with the near one."""
    made = network.configure()
    network.certify(made)
    check = f"/zones/{network.zone}/check-delegation"
    assert "does not know this zone" in network.api("POST", check)["problems"][0]
    network.delegate()
    until(lambda: network.api("POST", check)["is_right"], "the delegation is not seen")
    for shield in (network.near, network.far):
        network.await_verdict(shield, "up")
        network.await_answer(shield, network.near.host)
    until(lambda: network.visit(network.near.host.address), "the near shield does not serve")
    return made


def test_near_clients_get_the_near_shield_from_the_root_down(network: Edge, domain: str) -> None:
    assert network.resolve() == [network.near.host.address]
    assert network.answer(network.near, ELSEWHERE) == [network.far.host.address]


@pytest.fixture(scope="module")
def digests(network: Edge, domain: str) -> list[str]:
    """Sign the zone, enter the DS of both shields when they are shown, and wait until that is seen."""
    zone = f"/zones/{network.zone}"
    network.api("POST", f"{zone}/dnssec", {"signed": True})

    def shown() -> list[str]:
        found = [signer["ds"] for signer in network.api("GET", zone)["signers"]]
        return found if all(found) else []

    entered: list[str] = until(shown, "the shields tell no keys")
    assert len(set(entered)) == 2
    network.delegate(entered)
    until(lambda: network.api("POST", f"{zone}/check-delegation")["is_right"], "the DS are not seen")
    assert {signer["state"] for signer in network.api("GET", zone)["signers"]} == {"trusted"}
    return entered


def test_both_shields_prove_what_they_answer(network: Edge, digests: list[str]) -> None:
    for shield in (network.near, network.far):
        assert network.proved(shield, digests) == [network.near.host.address]
    with pytest.raises(ValidationFailure):
        network.proved(network.far, digests[:1])


@needs_machine
def test_origin_is_reached_through_its_tunnel_alone(network: Edge, domain: str) -> None:
    tunnel, command = network.add_tunnel("web")
    network.api("PATCH", f"/domains/{domain}", {"origins": [{"address": "web.tunnel", "port": 80}]})
    near = network.near.host.address
    until(lambda: not network.visit(near), "an origin that has not joined is reached")
    machine = network.join(command)
    script = network.folder / "lumos-origin.sh"
    script.write_text(network.api("GET", f"/tunnels/{tunnel}/firewall?ports=80")["script"])
    machine.run("sh", script)
    public = ("curl", "-s", "-o", "/dev/null", "-m", "2", f"http://{network.origin.address}/")
    assert network.client.run(*public, check=False).returncode != 0
    for address in (*network.resolve(), network.far.host.address):
        until(partial(network.visit, address), f"{address} does not reach the origin")


def test_with_the_control_plane(network: Edge, domain: str) -> None:
    near, far = network.near.host, network.far.host
    with near.apart():
        network.await_answer(network.far, far, within=WITH_CONTROL_PLANE)
        until(lambda: network.resolve() == [far.address], "resolvers do not find the far shield")
        assert network.visit(far.address)
        network.await_verdict(network.near, "down")
    for shield in (network.far, network.near):
        network.await_answer(shield, near)
    story = network.api("GET", f"/domains/{domain}/failover/decisions")["results"]
    told = [(entry["cause"], entry["answered"]) for entry in story]
    assert told == [("returned", ["near", "far"]), ("failed", ["far"]), ("first", ["near", "far"])]
    evidence = story[1]["evidence"][network.near.server]
    assert evidence["state"] == "down"
    assert any("192.0.2.1 does not answer" in reason for reason in evidence["reasons"])
    kinds = {alert["kind"] for alert in network.api("GET", "/notifications")["results"]}
    assert {"failover_triggered", "failover_recovered"} <= kinds


def test_an_agent_that_ends_moves_nothing(network: Edge, domain: str) -> None:
    """HAProxy goes on, and others see it: degraded at worst, and answered."""
    network.near.process.terminate()
    network.near.process.wait(60)
    assert network.visit(network.near.host.address)
    network.near.start()
    network.await_verdict(network.near, "up")
    network.await_answer(network.far, network.near.host)
    newest = network.api("GET", f"/domains/{domain}/failover/decisions")["results"][0]
    assert newest["cause"] in ("returned", "first")


def test_without_the_control_plane(network: Edge, digests: list[str]) -> None:
    near, far = network.near.host, network.far.host
    network.stack.control("stop", "app:*")
    try:
        with near.apart():
            network.await_answer(network.far, far, within=WITHOUT_CONTROL_PLANE)
            until(lambda: network.resolve() == [far.address], "resolvers do not find the far shield")
            assert network.proved(network.far, digests) == [far.address]
            assert network.visit(far.address)
        network.await_answer(network.far, near)
    finally:
        network.stack.control("start", "app:*")
    network.await_verdict(network.near, "up")
    network.await_answer(network.far, near)
