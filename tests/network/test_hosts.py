"""The hosts of the tests themselves."""

import socket

import pytest

from tests.network.hosts import Hosts, needs_hosts

pytestmark = [needs_hosts, pytest.mark.integration]


def test_hosts_reach_each_other_until_one_is_cut_off() -> None:
    with Hosts() as hosts:
        one = hosts.add("one", "192.0.2.1/24", "2001:db8::1/64")
        two = hosts.add("two", "192.0.2.2/24", "2001:db8::2/64")
        for address in one.addresses:
            two.run("ping", "-c1", "-W5", address)
        with one.apart():
            assert two.run("ping", "-c1", "-W1", one.address, check=False).returncode != 0
        two.run("ping", "-c3", "-i0.2", "-W5", one.address)


def test_sockets_are_made_in_a_host() -> None:
    with Hosts() as hosts:
        one, two = hosts.add("one", "192.0.2.1/24"), hosts.add("two", "192.0.2.2/24")
        with one.inside(lambda: socket.create_server(("192.0.2.1", 80))) as server:
            two.inside(lambda: socket.create_connection(("192.0.2.1", 80), timeout=5)).close()
            server.accept()[0].close()


def test_a_network_ends_what_runs_in_it() -> None:
    with Hosts() as hosts:
        process = hosts.add("one").start("sleep", "1000")
    assert process.wait(10) != 0
