"""Certificates of wildcards by DNS-01 from a real CA (Pebble), which asks another shield's Knot than the one that orders."""

import asyncio
import ssl
import tempfile
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from lumos_agent.challenges import Challenges
from lumos_agent.config import State
from lumos_agent.dns import Resolver
from lumos_agent.dns_challenges import DnsChallenges, Texts, challenge_name, dns_answer
from lumos_agent.drivers.knot import Knot
from lumos_agent.issuance import Issuer
from lumos_agent.protocol import CertificateStatus, Config, OrderAnswer
from lumos_agent.schema import Acme, Snapshot, digest_of
from lumos_agent.served import ServedCertificates
from lumos_agent.zone import Zone
from tests.agent.builders import Shield, domain, ident
from tests.agent.pebble import pebble
from tests.agent.zones import RunningKnot, free_dns_port, nameserver, record, snapshot_of, zone
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
NAME = "*.shop.example"


class Ordering:
    """A shield with a Knot that orders, and another name server of its zone that is told of its challenges."""

    def __init__(self, root: Path, other: RunningKnot, ca_file: Path) -> None:
        self.port, self.other = free_dns_port(), other
        self.https = free_port()
        self.knot = Knot(State(root), (f"127.0.0.1:{self.port}",), root / "none")
        self.shield = Shield(root, free_port(), https=(f"127.0.0.1:{self.https}",), daemons=[self.knot])
        state = self.shield.state
        settings = state.settings()
        settings.acme_ca_file = str(ca_file)
        state.save_settings(settings)
        self.reports: list[CertificateStatus] = []
        self.relayed = DnsChallenges(lambda: None, self._serve_there)
        self.seen: list[list[str]] = []
        self.issuer = Issuer(
            state,
            ServedCertificates(state),
            Challenges(state),
            DnsChallenges(self.shield.applier.snapshot, self._serve),
            publish=self._publish,
            withdraw=self._withdraw,
            report=self._report,
            ask=self._ask,
            texts=Resolver([("127.0.0.1", other.port)]).texts,
        )

    async def _serve(self, texts: Texts) -> None:
        if self.knot.use_texts(texts):
            await self.shield.applier.keep_daemons()

    async def _serve_there(self, texts: Texts) -> None:
        self.other.knot.use_texts(texts)
        await self.other.knot.apply(snapshot_of(zone(name="shop.example")))

    async def _publish(self, domain_id: str, token: str, key_authorization: str) -> None:
        await self.relayed.set_relayed({token: key_authorization}, {token: NAME})
        own = Resolver([("127.0.0.1", self.port)])
        self.seen.append(await own.texts(challenge_name(NAME)))
        assert dns_answer(key_authorization) in self.seen[-1]

    async def _withdraw(self, tokens: tuple[str, ...]) -> None:
        await self.relayed.set_relayed({}, {})

    async def _report(self, status: CertificateStatus) -> None:
        self.reports.append(status)

    async def _ask(self, domain_id: str) -> OrderAnswer | None:
        return OrderAnswer(domain_id=domain_id, is_granted=True)

    async def serve(self, directory_url: str, *zones: Zone) -> None:
        """Apply the wildcard with these zones and look after its certificate."""
        site = domain(1, hostname=NAME, certificate="acme")
        wanted = Snapshot(server_id=ident(0), domains=(site,), zones=zones, acme=Acme(directory_url=directory_url))
        data = wanted.encode()
        digest = digest_of(data)
        await self.shield.applier.apply(Config(epoch="e", revision=1, digest=digest, snapshot=msgspec.Raw(data)))
        self.issuer.want(wanted)
        await self.issuer.look()

    async def served_names(self, hostname: str) -> list[str]:
        """Return the names in the certificate that a visitor gets."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self.https, ssl=context, server_hostname=hostname)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return names.value.get_values_for_type(x509.DNSName)

    async def stop(self) -> None:
        """End everything."""
        await self.knot.apply(snapshot_of())
        await self.shield.stop()


async def test_wildcard_gets_a_certificate_by_dns(tmp_path: Path) -> None:
    async with nameserver() as other:
        await other.serve(zone(name="shop.example"))
        with (
            pebble(tmp_path, free_port(), dns_port=other.port) as ca,
            tempfile.TemporaryDirectory(prefix="la-") as folder,
        ):
            made = Ordering(Path(folder), other, ca.ca_file)
            try:
                await made.serve(ca.directory_url, zone(record("www", "A", "192.0.2.1"), name="shop.example"))
                assert [report.state for report in made.reports][-1] == "active", made.reports[-1].reason
                assert await made.served_names("any.shop.example") == [NAME]
                assert len(made.seen) == 2
                for port in (made.port, other.port):
                    assert await Resolver([("127.0.0.1", port)]).texts(challenge_name(NAME)) == []
            finally:
                await made.stop()


async def test_wildcard_without_its_zone_and_zone_that_nobody_finds_are_reasons(tmp_path: Path) -> None:
    async with nameserver() as other:
        await other.serve(zone(name="other.example"))
        with tempfile.TemporaryDirectory(prefix="la-") as folder:
            made = Ordering(Path(folder), other, tmp_path / "none")
            try:
                await made.serve("https://127.0.0.1:9/dir")
                assert "this shield serves no zone for it" in made.reports[-1].reason
                made.issuer._records[ident(1)].next_at = 0.0
                await made.serve("https://127.0.0.1:9/dir", zone(name="shop.example"))
                assert made.reports[-1].state == "failed"
            finally:
                await made.stop()
