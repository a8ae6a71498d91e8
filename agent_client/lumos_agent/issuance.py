"""Certificates of this shield's domains: ordered, renewed and put into service by themselves.

The status of each domain is none -> provisioning -> active -> renewing -> active, or failed with a reason. Whatever
happens, the certificate that is there goes on being served.
"""

import asyncio
import contextlib
import datetime
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable

import msgspec
from cryptography import x509

from lumos_agent import preflight
from lumos_agent.budget import Ask
from lumos_agent.certificate_records import Record, load_records
from lumos_agent.challenges import Challenges
from lumos_agent.config import State, write_atomically
from lumos_agent.dns import Resolver
from lumos_agent.dns_challenges import DnsChallenges
from lumos_agent.errors import AgentError, CertificateRefused, NotReachable
from lumos_agent.ordering import Orders, Publish, Withdraw
from lumos_agent.protocol import CertificateStatus
from lumos_agent.schema import Acme, Snapshot, Upload
from lumos_agent.sealing import SealingKey
from lumos_agent.served import ServedCertificates

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
LOOK_SHARE = 600  # looking may take one part in this many of the CPU
LOOKED_AT_ONCE = 64
PREFLIGHT_RETRY_SECONDS, RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 10.0, 60.0, 6 * 3600.0
RENEW_AT_LIFETIME_LEFT = 1 / 3
ASK_CA_SECONDS = 6 * 3600.0

Report = Callable[[CertificateStatus], Awaitable[None]]


class Issuer:
    """The job; `publish` and `withdraw` tell other shields of a challenge, `report` tells the control plane."""

    def __init__(
        self,
        state: State,
        served: ServedCertificates,
        challenges: Challenges,
        dns: DnsChallenges,
        *,
        publish: Publish,
        withdraw: Withdraw,
        report: Report,
        ask: Ask,
        resolver: preflight.Resolve = preflight.resolve,
        texts: preflight.Texts | None = None,
    ) -> None:
        self._state = state
        self._served = served
        self._report = report
        self._wanted: dict[str, str] = {}
        self._clients: dict[str, str] = {}
        self._uploads: dict[str, Upload | None] = {}
        self._acme: Acme | None = None
        self._changed = asyncio.Event()
        self._records = load_records(state.certificates_file)
        self._saved = b""
        self.orders = Orders(
            state,
            challenges,
            dns,
            self._records,
            publish=publish,
            withdraw=withdraw,
            ask=ask,
            resolver=resolver,
            texts=texts or Resolver().texts,
        )

    def want(self, snapshot: Snapshot) -> None:
        """Take over which domains need a certificate, and from which CA."""
        before = self._acme, self._wanted, self._clients, self._uploads
        if self._acme is not None and snapshot.acme != self._acme:
            for record in self._records.values():
                record.next_at = 0.0  # what one CA refuses another may grant
        self._acme, self.orders.server_id = snapshot.acme, snapshot.server_id
        own = [d for d in snapshot.domains if d.certificate != "off" and d.traffic.passthrough is None]
        self._wanted = {domain.id: domain.hostname for domain in own}
        wanted = {domain.id: domain.traffic.client_certificates for domain in snapshot.domains}
        self._clients = {pk: clients.ca for pk, clients in wanted.items() if clients is not None}
        uploads = {upload.domain_id: upload for upload in snapshot.uploads}
        self._uploads = {d.id: uploads.get(d.id) for d in own if d.certificate == "uploaded"}
        if (self._acme, self._wanted, self._clients, self._uploads) != before:
            self._changed.set()

    def statuses(self) -> list[CertificateStatus]:
        """Return the status of every domain that needs a certificate."""
        return [self._records.get(domain_id, Record()).status(domain_id) for domain_id in self._wanted]

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._changed.clear()
            began = time.thread_time()
            try:
                await self.look()
            except (AgentError, OSError) as error:
                log.error("certificates_not_in_step", extra={"error": str(error)})
            try:
                async with asyncio.timeout(max(LOOK_SECONDS, (time.thread_time() - began) * LOOK_SHARE)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Serve what there is, and order what is due."""
        await self._served.sync(self._wanted, self._clients)
        try:
            for number, (domain_id, hostname) in enumerate(list(self._wanted.items())):
                if number % LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # thousands of domains must not hold up anything else
                if self._wanted.get(domain_id) != hostname:
                    continue
                if domain_id in self._uploads:
                    await self._take_upload(domain_id, hostname, self._uploads[domain_id])
                elif await self._is_due(domain_id, hostname):
                    await self._obtain(domain_id, hostname)
        finally:
            self._save()

    async def _take_upload(self, domain_id: str, hostname: str, upload: Upload | None) -> None:
        """Put an uploaded certificate into service once; what is wrong with it becomes the domain's status."""
        record = self._records.setdefault(domain_id, Record())
        about = hashlib.sha256(f"{hostname}\n{upload and upload.chain}".encode()).hexdigest()
        if record.upload == about:
            return
        record.upload = about
        try:
            if upload is None:
                raise ValueError("no certificate was uploaded for this shield; upload it again")
            key = SealingKey(self._state.sealing_key).open(domain_id, upload.sealed_key)
            await self._served.install(domain_id, hostname, upload.chain.encode() + key)
            await self._served.sync(self._wanted, self._clients)
        except (AgentError, OSError, ValueError) as error:
            await self._note(domain_id, state="failed", reason=_reason(error))
            return
        if (certificate := self._served.read(domain_id, hostname)) is not None:
            await self._active(domain_id, certificate)

    async def _is_due(self, domain_id: str, hostname: str) -> bool:
        record, now = self._records.setdefault(domain_id, Record()), time.time()
        if record.upload and self._acme is not None:
            record.upload = ""
            return True  # the one that is served was uploaded; the site wants one of its own again
        certificate = self._served.read(domain_id, hostname)
        if certificate is None:
            return self._acme is not None and now >= record.next_at
        if record.state not in ("active", "failed", "renewing"):
            await self._active(domain_id, certificate)
        if self._acme is not None and now - record.asked_ca_at > ASK_CA_SECONDS:
            record.asked_ca_at = now
            pem = self._served.path(domain_id).read_bytes()
            with contextlib.suppress(CertificateRefused):
                if (
                    suggested := await asyncio.to_thread(self.orders.account(self._acme).renewal_time, pem)
                ) is not None:
                    record.renew_at = min(record.renew_at, suggested.timestamp())
        return self._acme is not None and now >= max(record.renew_at, record.next_at)

    async def _obtain(self, domain_id: str, hostname: str) -> None:
        """Order one certificate and put it into service; a refusal becomes the domain's status."""
        record = self._records[domain_id]
        has_one = self._served.read(domain_id, hostname) is not None
        await self._note(domain_id, state="renewing" if has_one else "provisioning", reason="")
        try:
            assert self._acme is not None  # noqa: S101 - is_due
            pem = await self.orders.certificate(self._acme, domain_id, hostname)
            await self._served.install(domain_id, hostname, pem)
            await self._served.sync(self._wanted, self._clients)
        except (CertificateRefused, AgentError, OSError, ValueError) as error:
            record.failures += 1
            shortest = PREFLIGHT_RETRY_SECONDS if isinstance(error, NotReachable) else RETRY_SECONDS_MIN
            pause = min(shortest * 2 ** min(record.failures - 1, 20), RETRY_SECONDS_MAX)
            pause = max(pause * random.uniform(0.75, 1.25), getattr(error, "retry_seconds", 0))  # noqa: S311 - jitter
            record.next_at = time.time() + pause
            await self._note(domain_id, state="failed", reason=_reason(error))
            return
        certificate = self._served.read(domain_id, hostname)
        if certificate is not None:
            record.failures, record.next_at = 0, 0.0
            await self._active(domain_id, certificate)
            self._save()

    async def _active(self, domain_id: str, certificate: x509.Certificate) -> None:
        record = self._records[domain_id]
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        left = (end - begin) * RENEW_AT_LIFETIME_LEFT
        jitter = left * random.uniform(0, 0.1)  # noqa: S311 - spreads renewals
        record.not_after, record.renew_at = end.timestamp(), (end - left - jitter).timestamp()
        if end < datetime.datetime.now(datetime.UTC):
            await self._note(domain_id, state="failed", reason="The certificate has expired.")
        else:
            await self._note(domain_id, state="active", reason="")

    async def _note(self, domain_id: str, *, state: str, reason: str) -> None:
        record = self._records[domain_id]
        record.state, record.reason = state, reason
        extra = {"domain": domain_id, "state": state, "reason": reason}
        log.log(logging.WARNING if state == "failed" else logging.INFO, "certificate", extra=extra)
        await self._report(record.status(domain_id))

    def _save(self) -> None:
        records = msgspec.json.encode(self._records)
        if records == self._saved:
            return
        try:
            write_atomically(self._state.certificates_file, records, durable=False)
            self._saved = records
        except OSError as error:
            log.error("certificate_status_not_saved", extra={"error": str(error)})


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"The certificate cannot be written: {error.strerror or error}."
    if isinstance(error, CertificateRefused):
        return str(error)
    return f"The new certificate cannot be used: {error}."
