"""The delegation of a zone, asked of real name servers on loopback: one for the parents, one for the zone."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from domains import zones
from domains.delegation import Network, Signers, check_delegation, signers_at_parent
from domains.zone_models import Zone
from lumos_agent.render.knot import zone_file_name
from lumos_agent.zone import Nameserver
from lumos_agent.zone import Zone as ZonePart
from servers.models import Server
from tests.agent.builders import ident
from tests.agent.zones import nameserver, record
from tests.factories import Tenant

pytestmark = [pytest.mark.django_db, pytest.mark.integration]


class Loop:
    """An event loop in a thread, for name servers beside synchronous code."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def served(*parts: ZonePart, more: str = "") -> Iterator[Network]:
    """Serve zones on 127.0.0.1, the first with `more` lines; the parent names itself as a name server there."""
    loop, running = Loop(), nameserver()
    with ExitStack() as stack:
        stack.callback(loop.close)
        knot = loop.run(running.__aenter__())
        stack.callback(lambda: loop.run(running.__aexit__(None, None, None)))
        loop.run(knot.serve(*parts))
        if more:
            with (knot.state.root / "knot" / zone_file_name(parts[0].name)).open("a") as file:
                file.write(more)
            loop.run(knot.knot.control.read_zones(parts))
        yield Network(resolvers=["127.0.0.1"], port=knot.port, is_allowed=lambda ip: ip.is_loopback)


def part(name: str, *records: Any, serial: int = 1, number: int = 1) -> ZonePart:
    servers = (Nameserver(server=ident(1), number=1, addresses=("127.0.0.1",)),)
    return ZonePart(id=ident(number), name=name, serial=serial, nameservers=servers, records=records)


DELEGATED = (record("alice", "NS", "ns1.alice.example."), record("ns1.alice", "A", "127.0.0.1"))


@pytest.fixture
def zone(alice: Tenant) -> Iterator[Zone]:
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4="127.0.0.1")
        yield zones.add_zone(name="alice.example", servers=[Server.objects.get(pk=alice.server.pk)], actor=alice.owner)


def test_delegation_that_is_right(zone: Zone) -> None:
    with served(part("example", *DELEGATED)) as parent, served(part("alice.example", number=2)) as child:
        found = check_delegation(zone, replace(parent, port=parent.port))
        assert found.problems == []
        assert found.found == found.expected == ["ns1.alice.example"]
        assert [server.problem for server in found.servers] == ["Answers, but does not serve this zone."]
        asked = check_delegation(zone, child).servers
        assert [(server.serial, server.problem) for server in asked] == [(1, "")]


def test_zone_that_the_parent_does_not_know(zone: Zone) -> None:
    with served(part("example")) as parent:
        found = check_delegation(zone, parent)
    assert not found.is_right
    assert "does not know this zone" in found.problems[0]


def test_other_name_servers_addresses_and_versions(zone: Zone) -> None:
    wrong = (
        record("alice", "NS", "ns1.alice.example."), record("alice", "NS", "ns.old.example."),
        record("ns1.alice", "A", "127.0.0.9"), record("ns.old", "A", "127.0.0.8"),
    )  # fmt: skip
    with served(part("example", *wrong)) as parent, served(part("alice.example", serial=7, number=2)) as child:
        assert check_delegation(zone, parent).problems == [
            "ns.old.example is entered, but does not serve this zone.",
            "The addresses of ns1.alice.example are 127.0.0.9 at the registrar; enter 127.0.0.1.",
        ]
        (server,) = check_delegation(zone, child).servers
    assert (server.serial, server.problem) == (7, "Serves another version than the newest, 1.")


def test_addresses_that_are_not_public_are_not_asked(zone: Zone) -> None:
    found = check_delegation(zone, Network(resolvers=["127.0.0.1"], port=9, seconds=0.1))
    assert "no public address" in found.servers[0].problem
    assert found.problems == ["No name server of the parent zone could be asked."]


def test_parent_is_asked_for_the_digests_that_it_has() -> None:
    digest = f"12345 13 2 {'ab' * 32}"
    delegated = part("example", *DELEGATED, record("bob", "NS", "ns1.bob.example."))
    with served(delegated, more=f"alice.example. 7200 IN DS {digest}\n") as parent:
        assert signers_at_parent("alice.example", parent) == Signers(digests=frozenset({digest}), ttl_seconds=7200)
        assert signers_at_parent("bob.example", parent) == Signers(digests=frozenset())
        assert signers_at_parent("nobody.example", parent) == Signers(digests=frozenset())
    assert signers_at_parent("alice.example", Network(resolvers=["127.0.0.1"], port=9, seconds=0.2)) is None


def test_name_server_that_does_not_publish_all_keys_is_noticed(zone: Zone) -> None:
    Zone.objects.filter(pk=zone.pk).update(dnssec=True)
    zone.nameservers.update(dnskey="A" * 86 + "==")
    zone.refresh_from_db()
    with served(part("alice.example", number=2)) as child:
        (server,) = check_delegation(zone, child).servers
    assert server.problem == "Does not publish the keys of all shields."
