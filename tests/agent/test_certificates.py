"""Certificates from a real CA (Pebble), served by a real HAProxy."""

import asyncio
import contextlib
import datetime
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lumos_agent import ordering
from lumos_agent.budget import OWN_ORDERS_MAX, Budget
from lumos_agent.challenges import Challenges
from lumos_agent.dns_challenges import DnsChallenges, Texts
from lumos_agent.drivers import cli
from lumos_agent.issuance import Issuer
from lumos_agent.protocol import CertificateStatus, OrderAnswer
from lumos_agent.schema import Acme, Domain, ExternalAccount, Snapshot
from lumos_agent.sealing import SealingKey, seal
from lumos_agent.served import ServedCertificates
from tests.agent.builders import Shield, config, domain, ident, snapshot
from tests.agent.pebble import Pebble, pebble
from tests.agent.visitor import origin, request
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HTTP_PORT, HTTPS_PORT = free_port(), free_port()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), HTTP_PORT) as made:
        yield made


async def _no_zones(texts: Texts) -> None:
    """Serve no zone."""


class Issuing:
    """A shield with its issuer, without a control plane."""

    def __init__(self, shield: Shield, ca: Pebble, address: str) -> None:
        self.shield = shield
        self.address = address
        self.dns = "127.0.0.1"
        self.answer: OrderAnswer | None = OrderAnswer(domain_id=ident(1), is_granted=True)
        self.asked: list[str] = []
        self.ca = ca
        self.reports: list[CertificateStatus] = []
        self.others: list[Issuing] = []
        state = shield.state
        settings = state.settings()
        settings.acme_ca_file, settings.acme_http_port = str(ca.ca_file), HTTP_PORT
        state.save_settings(settings)
        self.challenges = Challenges(state)
        self.served = ServedCertificates(state)
        self.issuer = Issuer(
            state,
            self.served,
            self.challenges,
            DnsChallenges(shield.applier.snapshot, _no_zones),
            publish=self._publish,
            withdraw=self._withdraw,
            report=self._report,
            ask=self._ask,
            resolver=self._resolve,
        )

    async def _publish(self, domain_id: str, token: str, key_authorization: str) -> None:
        for other in self.others:
            await other.challenges.set_relayed({token: key_authorization})

    async def _withdraw(self, tokens: tuple[str, ...]) -> None:
        for other in self.others:
            await other.challenges.set_relayed({})

    async def _ask(self, domain_id: str) -> OrderAnswer | None:
        self.asked.append(domain_id)
        return self.answer

    async def _report(self, status: CertificateStatus) -> None:
        self.reports.append(status)

    async def _resolve(self, hostname: str) -> list[str]:
        return [self.dns] if self.dns else []

    def states(self) -> list[str]:
        return [report.state for report in self.reports]

    async def serve(self, *domains: Domain, revision: int = 1, external: ExternalAccount | None = None) -> None:
        """Apply the domains and look after their certificates."""
        await self.shield.applier.apply(config(revision, *domains))
        wanted = snapshot(*domains)
        acme = Acme(directory_url=self.ca.directory_url, external_account=external)
        self.issuer.want(Snapshot(server_id=wanted.server_id, domains=wanted.domains, acme=acme))
        await self.issuer.look()

    async def issuer_of(self, hostname: str) -> str:
        """Return the issuer's name of the certificate that a visitor gets, verified against nothing."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection(self.address, HTTPS_PORT, ssl=context, server_hostname=hostname)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        from cryptography import x509

        return x509.load_der_x509_certificate(der).issuer.rfc4514_string()

    async def get_securely(self, hostname: str) -> int:
        """Return the status that a visitor with a strict browser gets."""
        context = ssl.create_default_context(cadata=self.ca.root().decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        reader, writer = await asyncio.open_connection(self.address, HTTPS_PORT, ssl=context, server_hostname=hostname)
        writer.write(f"GET / HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return int(line.split()[1])


@contextlib.asynccontextmanager
async def issuing(ca: Pebble, address: str = "127.0.0.1") -> AsyncIterator[Issuing]:
    with tempfile.TemporaryDirectory(prefix="lc-") as folder:
        shield = Shield(Path(folder), HTTP_PORT, address=address, https=(f"{address}:{HTTPS_PORT}",))
        try:
            await shield.applier.repair()
            yield Issuing(shield, ca, address)
        finally:
            await shield.stop()
            for opened in shield.haproxy._sockets.values():
                opened.close()


def secured(number: int = 1, port: int = 9, **changes: Any) -> Domain:
    return domain(number, hostname=f"d{number}.site.example", port=port, certificate="acme", **changes)


async def test_certificate_is_ordered_and_served_without_a_reload(ca: Pebble) -> None:
    async with origin() as port, issuing(ca) as one:
        before = one.shield.applier.running()
        await one.serve(secured(port=port), domain(2, port=port))
        assert one.states() == ["provisioning", "active"], one.reports
        assert one.reports[-1].not_after > datetime.datetime.now().timestamp()  # noqa: DTZ005
        assert await one.get_securely("d1.site.example") == 200
        assert one.shield.applier.running()[0] == before[0] + 1  # type: ignore[index]
        assert "Pebble" not in await one.issuer_of("other.example")
        mode = one.served.path(ident(1)).stat().st_mode & 0o777
        assert mode == 0o600
        # The disk says the same: a reload changes nothing, and a removed domain's certificate goes.
        await one.shield.haproxy.reload(one.shield.applier.running()[0])  # type: ignore[index]
        assert await one.get_securely("d1.site.example") == 200
        await one.issuer.look()
        assert one.states() == ["provisioning", "active"]
        await one.serve(domain(2, port=port), revision=2)
        assert "Pebble" not in await one.issuer_of("d1.site.example")


async def test_standby_has_its_own_certificate_before_it_is_needed(ca: Pebble) -> None:
    async with origin() as port, issuing(ca) as first, issuing(ca, "127.0.0.2") as standby:
        first.others, standby.others = [standby], [first]
        await first.serve(secured(port=port))
        await standby.serve(secured(port=port))  # DNS points at the first
        assert (first.states()[-1], standby.states()[-1]) == ("active", "active"), standby.reports
        first.shield.haproxy.stop()
        assert await standby.get_securely("d1.site.example") == 200
        keys = {one.served.path(ident(1)).read_bytes().split(b"-----END PRIVATE KEY")[0] for one in (first, standby)}
        assert len(keys) == 2


async def test_renewal_swaps_under_load(ca: Pebble) -> None:
    async with origin() as port, issuing(ca) as one:
        await one.serve(secured(port=port))
        serial = one.served.read(ident(1), "d1.site.example").serial_number  # type: ignore[union-attr]
        one.issuer._records[ident(1)].renew_at = 0
        statuses: list[int] = []
        stopped = asyncio.Event()

        async def visit() -> None:
            while not stopped.is_set():
                statuses.append(await one.get_securely("d1.site.example"))

        visitors = [asyncio.create_task(visit()) for _ in range(3)]
        await one.issuer.look()
        stopped.set()
        await asyncio.gather(*visitors)
        assert one.states() == ["provisioning", "active", "renewing", "active"], one.reports
        assert one.served.read(ident(1), "d1.site.example").serial_number != serial  # type: ignore[union-attr]
        assert set(statuses) == {200}


REFUSALS = {
    "no address": "DNS has no address for d1.site.example. Point its A or AAAA record",
    "dns elsewhere": "leads to 127.0.0.3, which is none of this domain's shields",
    "port closed": "does not answer",
    "clock": "This shield's clock is 24.0 hours behind",
    "wildcard": "A wildcard needs",
    "ca down": "cannot be reached",
    "ca refuses": "The CA could not check",
    "disk full": "No space left on device",
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusal_is_a_reason_and_sites_go_on(ca: Pebble, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with origin() as port, issuing(ca) as one, contextlib.AsyncExitStack() as stack:
        hostname = "*.site.example" if case == "wildcard" else "d1.site.example"
        if case == "no address":
            one.dns = ""
        elif case == "dns elsewhere":
            elsewhere = await asyncio.start_server(_answer_404, "127.0.0.3", HTTP_PORT)
            stack.callback(elsewhere.close)
            one.dns = "127.0.0.3"
        elif case == "port closed":
            one.dns = "127.0.0.4"
        elif case == "clock":
            one.issuer.orders.clock_skew_seconds = -86_400
        elif case == "ca refuses":
            ca.point_to("127.0.0.5")
            stack.callback(ca.point_to, "127.0.0.1")
        elif case == "ca down":
            ca.stop()
            stack.callback(ca.start)
        elif case == "disk full":

            def full(path: Path, data: bytes, **options: Any) -> None:
                raise OSError(28, os.strerror(28))

            monkeypatch.setattr("lumos_agent.served.write_atomically", _only(full, ".pem"))
        await one.serve(domain(1, hostname=hostname, port=port, certificate="acme"))
        assert one.states() == ["provisioning", "failed"]
        assert REFUSALS[case] in one.reports[-1].reason, one.reports[-1]
        assert (await request(HTTP_PORT, "d1.site.example")).status == 200
        await one.issuer.look()
        assert len(one.reports) == 2, "it is not tried again at once"


def _only(fault: Any, suffix: str) -> Any:
    from lumos_agent.config import write_atomically

    def write(path: Path, data: bytes, **options: Any) -> None:
        (fault if path.suffix == suffix else write_atomically)(path, data, **options)

    return write


async def _answer_404(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def test_own_and_relayed_challenges_change_at_once(ca: Pebble) -> None:
    async with issuing(ca) as one:
        await one.serve(secured())

        async def order(number: int) -> None:
            await one.challenges.add(f"own-{number}", f"own-{number}.key")
            if number % 2:
                await one.challenges.remove(f"own-{number}")

        relayed = [one.challenges.set_relayed({f"other-{n % 3}": f"other-{n}.key"}) for n in range(20)]
        reloads = [one.shield.applier.apply(config(revision, domain(revision))) for revision in (2,)]
        await asyncio.gather(*relayed, *(order(number) for number in range(20)), *reloads)
        await one.challenges.refresh()
        held = await cli.ask(one.shield.state.worker_socket, [f"show map {one.shield.state.challenges_map}"])
        served = dict(line.split()[1:] for line in held.splitlines() if line)
        on_disk = dict(line.split() for line in one.shield.state.challenges_map.read_text().splitlines())
        expected = {f"own-{number}": f"own-{number}.key" for number in range(0, 20, 2)}
        assert served == on_disk == expected | {"other-1": "other-19.key"}


async def test_damaged_file_is_left_out_and_ordered_anew(ca: Pebble) -> None:
    async with origin() as port, issuing(ca) as one:
        await one.serve(secured(port=port))
        one.served.path(ident(1)).write_bytes(b"-----BEGIN CERTIFICATE-----\nbroken\n")
        await one.issuer.look()
        assert one.states()[-2:] == ["provisioning", "active"]
        assert await one.get_securely("d1.site.example") == 200


async def test_order_that_is_held_back_says_why_and_the_site_goes_on(ca: Pebble) -> None:
    async with origin() as port, issuing(ca) as one:
        await one.serve(secured(port=port))
        one.answer = OrderAnswer(domain_id=ident(1), is_granted=False, reason="Held back: enough.", retry_seconds=7200)
        one.issuer._records[ident(1)].renew_at = 0
        await one.issuer.look()
        record = one.issuer._records[ident(1)]
        assert (one.states()[-1], one.reports[-1].reason) == ("failed", "Held back: enough.")
        assert record.next_at > datetime.datetime.now().timestamp() + 7000  # noqa: DTZ005
        assert await one.get_securely("d1.site.example") == 200
        # Another CA may grant what this one does not.
        asked = len(one.asked)
        acme = Acme(directory_url=one.ca.directory_url, email="new@example.com")
        one.issuer.want(Snapshot(server_id=ident(0), domains=(secured(port=port),), acme=acme))
        await one.issuer.look()
        assert len(one.asked) == asked + 1


async def test_control_plane_that_does_not_answer_stops_no_renewal(ca: Pebble) -> None:
    async with origin() as port, issuing(ca) as one:
        one.answer = None
        await one.serve(secured(port=port))
        for _ in range(OWN_ORDERS_MAX - 1):
            one.issuer._records[ident(1)].renew_at = 0
            await one.issuer.look()
        assert one.states()[-1] == "active", one.reports
        one.issuer._records[ident(1)].renew_at = 0
        await one.issuer.look()
        assert "the control plane cannot be asked" in one.reports[-1].reason
        assert await one.get_securely("d1.site.example") == 200
        one.answer = OrderAnswer(domain_id=ident(1), is_granted=True)
        one.issuer._records[ident(1)].next_at = 0
        await one.issuer.look()
        assert one.states()[-1] == "active"


async def test_after_failures_the_directory_for_tests_comes_first(ca: Pebble, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = f"https://127.0.0.1:{free_port()}/dir"
    monkeypatch.setitem(ordering.REHEARSALS, ca.directory_url, tests)
    async with origin() as port, issuing(ca) as one:
        await one.serve(secured(port=port))
        record = one.issuer._records[ident(1)]
        record.renew_at, record.failures = 0, ordering.REHEARSED_FROM_FAILURES
        asked = len(one.asked)
        await one.issuer.look()
        assert one.states()[-1] == "failed"
        assert f"tried at {tests}" in one.reports[-1].reason
        assert len(one.asked) == asked, "no order was counted"
        monkeypatch.setitem(ordering.REHEARSALS, ca.directory_url, ca.directory_url)
        record.next_at = 0
        await one.issuer.look()
        assert (one.states()[-1], len(one.asked), record.failures) == ("active", asked + 1, 0)
        assert await one.get_securely("d1.site.example") == 200


async def test_answers_reach_who_asked_and_silence_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message.domain_id == ident(1):
            budget.received(OrderAnswer(domain_id=ident(2), is_granted=False))
            budget.received(OrderAnswer(domain_id=ident(1), is_granted=True))
            budget.received(OrderAnswer(domain_id=ident(1), is_granted=False))

    budget = Budget(send)
    assert await budget.ask(ident(1)) == OrderAnswer(domain_id=ident(1), is_granted=True)
    monkeypatch.setattr("lumos_agent.budget.ANSWER_SECONDS", 0)
    assert await budget.ask(ident(3)) is None
    assert len(sent) == 2


async def test_account_that_the_ca_keeps_elsewhere(tmp_path: Path) -> None:
    mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with pebble(tmp_path, HTTP_PORT, {"kid-1": mac_key}) as strict:
        async with origin() as port, issuing(strict) as one:
            await one.serve(secured(port=port))
            assert "The CA refused" in one.reports[-1].reason
            sealing = SealingKey(one.shield.state.sealing_key)
            cases = (
                ("", "was not entered for this shield"),
                (seal(mac_key.encode(), sealing.public(), ident(7)), "was not entered for this shield"),
                (seal("ü".encode(), sealing.public(), ident(0)), "is not base64url"),
                (seal(b"c29tZXRoaW5nIGVsc2U", sealing.public(), ident(0)), "The CA refused"),
            )
            for sealed, reason in cases:
                await one.serve(secured(port=port), external=ExternalAccount(key_id="kid-1", sealed_key=sealed))
                assert reason in one.reports[-1].reason, one.reports[-1]
            sealed = seal(mac_key.encode(), sealing.public(), ident(0))
            await one.serve(secured(port=port), external=ExternalAccount(key_id="kid-1", sealed_key=sealed))
            assert one.states()[-1] == "active", one.reports[-1]


async def test_hostile_challenge_reaches_no_command(ca: Pebble) -> None:
    async with issuing(ca) as one:
        await one.challenges.set_relayed({"a;shutdown frontend web": "x.y", "ok": "good.one", "b": "x y"})
        assert (await request(HTTP_PORT, "x.example", "/.well-known/acme-challenge/ok")).text == "good.one"
        assert one.shield.state.challenges_map.read_text() == "ok good.one\n"
        await one.challenges.set_relayed({})
        assert (await request(HTTP_PORT, "x.example", "/.well-known/acme-challenge/ok")).status == 421


def test_snapshot_with_a_ca_survives_the_wire() -> None:
    acme = Acme(directory_url="https://ca.example/dir", email="ops@example.com")
    made = Snapshot(server_id=ident(0), domains=(), acme=acme)
    assert Snapshot.decode(made.encode()) == made
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"directory_url": "http://ca.example/dir"}, Acme)
