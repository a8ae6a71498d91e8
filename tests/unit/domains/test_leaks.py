"""Origins that strangers find: a real TLS server and a real name server on loopback."""

import contextlib
import http.server
import itertools
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.utils import timezone

from domains import delegation, leak_checks
from domains.delegation import Network
from domains.leak_models import LeakCheck
from domains.leaks import Place, Question, _greeted, _Known, _others, look
from domains.tasks import check_origins
from lumos.addresses import NetworkSet
from lumos.errors import Conflict, InvalidInput
from lumos.greeting import Greeting, _names, greet
from lumos.net import FetchError, Reach
from lumos_agent.cdns import newest
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
    cdns = NetworkSet(network for cdn in newest([]).values() for network in cdn.networks)
    names = {"hostname": "www.alice.example", "registered": "alice.example"}
    return Question(**names, places=places, shields=shields, cdns=cdns, https_port=https_port)


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


def shown(*names: x509.GeneralName, more: bytes = b"") -> bytes:
    """Return a certificate (DER) for `names`, with another extension whose kind is 2.5.29.99."""
    key, now = ec.generate_private_key(ec.SECP256R1()), timezone.now()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WWW.alice.example")])
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), more)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 7, now, now + timedelta(days=1), [])
    made = made.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else made
    return made.add_extension(other, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


SITE = x509.DNSName("www.alice.example")
OTHER_KIND, ALTERNATIVE_NAME = b"\x55\x1d\x63", b"\x55\x1d\x11"


@pytest.mark.parametrize(
    ("der", "names"),
    [
        pytest.param(shown(), ("www.alice.example",), id="no alternative name"),
        pytest.param(shown(SITE), ("www.alice.example",), id="one name"),
        pytest.param(shown(x509.IPAddress(ip_address("192.0.2.1"))), (), id="an address alone"),
        pytest.param(shown(SITE).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"), (), id="version 8"),
        pytest.param(shown(SITE).replace(OTHER_KIND, ALTERNATIVE_NAME), (), id="two lists of names"),
        pytest.param(shown(more=b"\x30\x02\xa3\x00").replace(OTHER_KIND, ALTERNATIVE_NAME), (), id="an X.400 name"),
        pytest.param(shown(SITE)[:-9], (), id="cut off"),
        pytest.param(b"", (), id="none"),
    ],
)
def test_names_in_certificates_of_strangers(der: bytes, names: tuple[str, ...]) -> None:
    assert _names(der) == names


def test_a_certificate_for_ten_thousand_names() -> None:
    assert _names(shown(*(x509.DNSName(f"n{n}.example") for n in range(10_000))))[-1] == "n9999.example"


def strangers_answer(*parts: bytes) -> Greeting | None:
    """Return how the second half of a second of what a stranger says is understood, the last part again and again."""
    with socket.create_server((ORIGIN, 0)) as listening:

        def answer() -> None:
            taken, _ = listening.accept()
            with taken, contextlib.suppress(OSError):
                for part in itertools.chain(parts, itertools.repeat(parts[-1])):
                    taken.sendall(part)

        thread = Thread(target=answer)
        thread.start()
        reach = Reach(admits=LOOPBACK.admits, seconds=0.5)
        try:
            return greet(ORIGIN, listening.getsockname()[1], "www.alice.example", is_tls=False, reach=reach)
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n"], 0, id="endless interim answers"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"], 0, id="endless headers"),
        pytest.param([b"HTTP/1.1 200 " + b"x" * 9999], 0, id="an endless line"),
        pytest.param([b"HTTP/1.1 99999 Many\r\n\r\n", b"x"], 0, id="no status"),
        pytest.param(
            [b"HTTP/1.1 403 No\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"x"], 403, id="endless body"
        ),
        pytest.param([b"\0\xff"], 0, id="no HTTP"),
    ],
)
def test_what_strangers_answer_ends_and_raises_nothing(parts: list[bytes], status: int) -> None:
    assert strangers_answer(*parts) == Greeting(status=status)


def test_an_address_that_may_no_longer_be_asked_is_left_out() -> None:
    """The dashboard's own addresses are asked for again now and then, so the answer may change within a look."""
    place = Place(address="203.0.113.1", port=443, is_tls=True)
    assert _greeted(place, question(place), Network(is_allowed=lambda ip: False)) is None


def test_networks_are_found_at_their_ends_and_nowhere_else() -> None:
    networks = NetworkSet(["10.0.0.0/9", "10.128.0.0/9", "192.0.2.0/24", "2001:db8::/32", "2001:db8:1::/48"])
    within = ["10.0.0.0", "10.127.255.255", "10.255.255.255", "192.0.2.7", "2001:db8::", "2001:db8:ffff::1"]
    outside = ["9.255.255.255", "11.0.0.0", "192.0.3.0", "255.255.255.255", "::a00:1", "2001:db9::"]
    assert all(ip_address(text) in networks for text in within)
    assert not any(ip_address(text) in networks for text in outside)
    assert ip_address("10.0.0.1") not in NetworkSet([])


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
