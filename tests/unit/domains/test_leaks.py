"""Origins that strangers find: a real TLS server and a real name server on loopback."""

import http.server
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.utils import timezone

from domains import delegation, leak_checks
from domains.delegation import Network
from domains.leak_models import LeakCheck
from domains.leaks import Place, Question, _Known, _others, look
from domains.tasks import check_origins
from lumos.errors import Conflict, InvalidInput
from lumos.greeting import greet
from lumos.net import FetchError, Reach
from servers.models import Server
from tests.agent.test_uploads import certificate
from tests.agent.zones import record
from tests.factories import Tenant
from tests.services import free_port
from tests.unit.domains.test_delegation import part, served

ORIGIN, ELSEWHERE, SHIELD = "127.0.0.2", "127.0.0.3", "127.0.0.9"
LOOPBACK = Reach(admits=lambda ip: ip.is_loopback, seconds=5)


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Host"] == "www.alice.example" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def site(folder: Path, *names: str, address: str = ORIGIN) -> Iterator[int]:
    """Serve www.alice.example over TLS with a certificate for `names`; yields the port."""
    chain, key = certificate(*names)
    pem = folder / f"{address}.pem"
    pem.write_bytes(key + chain.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = http.server.ThreadingHTTPServer((address, 0), _Page)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def question(*places: Place, https_port: int = 443) -> Question:
    shields = frozenset({SHIELD})
    return Question(
        hostname="www.alice.example", registered="alice.example", places=places, shields=shields, https_port=https_port
    )


def found(asked: Question, network: Network) -> list[tuple[str, str]]:
    return [(finding.clue.value, finding.state.value) for finding in look(asked, network)]


@pytest.mark.integration
def test_an_origin_that_everything_leads_to(tmp_path: Path) -> None:
    records = (
        record("www", "A", SHIELD), record("origin", "A", ORIGIN), record("mail", "A", ORIGIN),
        record("@", "MX", "10 mail.alice.example."), record("@", "TXT", f'"v=spf1 ip4:{ORIGIN}/31 " "ip4:x -all"'),
        record("old", "A", ELSEWHERE),
    )  # fmt: skip
    with (
        served(part("alice.example", *records)) as network,
        site(tmp_path, "www.alice.example") as port,
        site(tmp_path, "*.alice.example", address=ELSEWHERE) as other,
    ):
        place = Place(address=ORIGIN, port=port, is_tls=True)
        findings = look(question(place, https_port=other), network)
    told = [(finding.clue.value, finding.state.value, finding.text.split(",")[0]) for finding in findings]
    assert told == [
        ("direct", "leak", ORIGIN),
        ("dns", "leak", f"origin.alice.example leads to the origin ({ORIGIN}). Remove the name"),
        ("mail", "leak", "Mail goes to mail.alice.example"),
        ("mail", "leak", "The SPF record names 127.0.0.2/31"),
        ("certificate", "leak", ORIGIN),
        ("certificate", "leak", ELSEWHERE),
    ]
    assert "answers with status 200" in findings[0].text


@pytest.mark.integration
def test_an_origin_that_nobody_finds(tmp_path: Path) -> None:
    closed = free_port()
    records = (
        record("www", "A", SHIELD),
        record("*", "A", SHIELD),
        record("@", "TXT", '"v=spf1 ip4:127.0.0.0/8 -all"'),
    )
    with served(part("alice.example", *records)) as network:
        hidden = [(clue, "hidden") for clue in ("direct", "dns", "mail", "certificate")]
        assert found(question(Place(address=ORIGIN, port=closed, is_tls=False)), network) == hidden
        tunnel = Place(address="web.tunnel", port=80, is_tls=False)
        assert found(question(tunnel), network) == hidden
        private = replace(network, is_allowed=lambda ip: False)
        assert found(question(Place(address=ORIGIN, port=closed, is_tls=True)), private) == hidden


def test_a_dns_that_is_silent_is_no_good_news() -> None:
    silent = Network(resolvers=["127.0.0.1"], port=9, seconds=0.1)
    assert ("dns", "unknown") in found(question(), silent)


def test_who_stands_in_front_is_not_asked_for_the_site() -> None:
    names = {
        "www.alice.example": ["203.0.113.1"],
        "alice.example": ["203.0.113.1", "104.16.0.1", SHIELD, "2606:4700::1"],  # Cloudflare's, and a shield
        "old.alice.example": ["203.0.113.2"],
    }
    asked = _others(question(), _Known(names=names), Network(is_allowed=lambda ip: True))
    assert [place.address for place in asked] == ["203.0.113.2"]


def test_only_addresses_that_may_be_are_greeted(tmp_path: Path) -> None:
    with site(tmp_path, "other.example") as port:
        greeting = greet(ORIGIN, port, "www.alice.example", is_tls=True, reach=LOOPBACK)
        assert greeting is not None
        assert (greeting.status, greeting.names) == (200, ("other.example",))
        plain = greet(ORIGIN, port, "www.alice.example", is_tls=False, reach=LOOPBACK)
        assert plain is not None
        assert (plain.status, plain.names) == (0, ())
        with pytest.raises(FetchError, match="no address of the public Internet"):
            greet(ORIGIN, port, "www.alice.example", is_tls=True, reach=Reach())


@pytest.mark.django_db
def test_a_look_that_somebody_asked_for(alice: Tenant) -> None:
    with alice.scope:
        asked = leak_checks.ask(domain_id=alice.domain.pk, actor=alice.owner)
        assert asked.is_awaited
        assert leak_checks.ask(domain_id=alice.domain.pk, actor=alice.owner).asked_at == asked.asked_at
        leak_checks.run(alice.domain.pk)
        row = LeakCheck.objects.get()
        assert not row.is_awaited
        assert [finding["state"] for finding in row.findings] == ["hidden", "unknown", "hidden", "hidden"]
        assert [finding["label"] for finding in row.shown][:2] == ["Direct answer: hidden", "DNS: could not be asked"]
        looked_at = row.looked_at
        leak_checks.run(alice.domain.pk)
        row.refresh_from_db()
        assert row.looked_at == looked_at
        with pytest.raises(Conflict, match="wait a minute"):
            leak_checks.ask(domain_id=alice.domain.pk, actor=alice.owner)
        alice.domain.hostname = "*"
        alice.domain.save()
        with pytest.raises(InvalidInput, match="no name of its own"):
            leak_checks.ask(domain_id=alice.domain.pk, actor=alice.owner)


@pytest.mark.django_db
def test_every_domain_has_its_turn_within_a_week(
    alice: Tenant, mallory: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr("domains.tasks.check_origin.apply_async", lambda arguments, **_: sent.append(arguments))
    assert check_origins() == {"domains": 0}
    assert LeakCheck.unscoped.count() == 2
    assert all(timezone.now() < row.due_at <= timezone.now() + leak_checks.EVERY for row in LeakCheck.unscoped.all())
    LeakCheck.unscoped.filter(domain=mallory.domain).update(due_at=timezone.now())
    check_origins()
    assert sent == [(str(mallory.account.pk), str(mallory.domain.pk))]


@pytest.mark.django_db
def test_shields_and_private_origins_are_no_leaks(alice: Tenant) -> None:
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4=SHIELD)
        traffic = {"routes": [{"path": "/a", "origins": [{"address": "10.0.0.7", "port": 81}]}]}
        alice.domain.traffic = traffic
        asked = leak_checks._question(alice.domain)
    assert asked.shields == {SHIELD}
    assert [(place.address, place.port) for place in asked.places] == [("127.0.0.1", 8080), ("10.0.0.7", 81)]
    assert delegation.NETWORK.resolvers == ["127.0.0.1"]
