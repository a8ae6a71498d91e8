"""One certificate order: pre-flight, challenge, the budget, and the CA (RFC 8555)."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import structs

from lumos_agent import preflight
from lumos_agent.budget import WEEK_SECONDS, Ask, refuse_beyond_own
from lumos_agent.certificate_records import Record
from lumos_agent.challenges import Challenges
from lumos_agent.config import State
from lumos_agent.dns_challenges import DnsChallenges, challenge_name, dns_answer
from lumos_agent.errors import CertificateRefused
from lumos_agent.schema import Acme
from lumos_agent.sealing import SealingKey

if TYPE_CHECKING:
    from lumos_agent.drivers.acme import Account, Answer

CLOCK_SKEW_SECONDS_MAX = 3600.0
# After so many failures in a row the CA's directory for tests must issue first: failures there use up no limit.
REHEARSED_FROM_FAILURES = 3
REHEARSALS = {
    "https://acme-v02.api.letsencrypt.org/directory": "https://acme-staging-v02.api.letsencrypt.org/directory"
}

Publish = Callable[[str, str, str], Awaitable[None]]
Withdraw = Callable[[tuple[str, ...]], Awaitable[None]]


class Orders:
    """Orders of this shield; `publish` and `withdraw` tell other shields of a challenge.

    `records`: what is known of each domain's certificate, by id.
    """

    def __init__(
        self,
        state: State,
        challenges: Challenges,
        dns: DnsChallenges,
        records: dict[str, Record],
        *,
        publish: Publish,
        withdraw: Withdraw,
        ask: Ask,
        resolver: preflight.Resolve,
        texts: preflight.Texts,
    ) -> None:
        self._state = state
        self._challenges = challenges
        self._dns = dns
        self._texts = texts
        self._records = records
        self._publish = publish
        self._withdraw = withdraw
        self._ask = ask
        self._resolver = resolver
        self.server_id = ""
        self.clock_skew_seconds = 0.0

    def account(self, acme: Acme) -> "Account":
        """Return the shield's account at a CA.

        Raises:
            CertificateRefused: its key was not entered for this shield.
        """
        from lumos_agent.drivers.acme import Account

        self._state.acme.mkdir(mode=0o700, exist_ok=True)
        external = None
        if acme.external_account is not None:
            external = acme.external_account.key_id, self._external_key(acme.external_account.sealed_key)
        ca_file = self._state.settings().acme_ca_file
        return Account(self._state.acme, acme.directory_url, acme.email, ca_file, external)

    def _external_key(self, sealed: str) -> str:
        try:
            return SealingKey(self._state.sealing_key).open(self.server_id, sealed).decode().strip()
        except ValueError as error:
            raise CertificateRefused(
                "The key of the account at the CA was not entered for this shield. Enter it again on the page "
                "“Certificate authority”."
            ) from error

    async def certificate(self, acme: Acme, domain_id: str, hostname: str) -> bytes:
        """Return private key and chain of a new certificate as PEM.

        Raises:
            CertificateRefused: with a reason that a person understands.
        """
        is_wildcard = hostname.startswith("*")
        if is_wildcard and (hostname == "*" or not self._dns.covers(hostname)):
            raise CertificateRefused(
                "A wildcard needs a DNS-01 challenge, and this shield serves no zone for it. Add the zone under DNS "
                "with this shield, protect each hostname as a domain of its own, or upload a certificate."
            )
        if abs(self.clock_skew_seconds) > CLOCK_SKEW_SECONDS_MAX:
            hours = abs(self.clock_skew_seconds) / 3600
            behind = "behind" if self.clock_skew_seconds < 0 else "ahead"
            raise CertificateRefused(
                f"This shield's clock is {hours:.1f} hours {behind}. Switch time synchronisation on: "
                "timedatectl set-ntp true."
            )
        tokens: list[str] = []
        loop = asyncio.get_running_loop()

        async def answer(token: str, key_authorization: str) -> None:
            tokens.append(token)
            if is_wildcard:
                await self._dns.add(token, hostname, key_authorization)
            else:
                await self._challenges.add(token, key_authorization)
            await self._publish(domain_id, token, key_authorization)

        def answer_from_thread(token: str, key_authorization: str) -> None:
            asyncio.run_coroutine_threadsafe(answer(token, key_authorization), loop).result(30)

        try:
            probe, expected = secrets.token_urlsafe(24), f"{secrets.token_urlsafe(8)}.{secrets.token_urlsafe(8)}"
            await answer(probe, expected)
            if is_wildcard:
                await preflight.check_text(challenge_name(hostname), dns_answer(expected), self._texts)
            else:
                port = self._state.settings().acme_http_port
                await preflight.check(hostname, probe, expected, port=port, resolver=self._resolver)
            if self._records[domain_id].failures >= REHEARSED_FROM_FAILURES:
                await self._rehearse(acme, hostname, answer_from_thread)
            await self._spend(domain_id)
            return await asyncio.to_thread(self.account(acme).order, hostname, answer_from_thread)
        finally:
            for token in tokens:
                await self._challenges.remove(token)
                await self._dns.remove(token)
            await self._withdraw(tuple(tokens))

    async def _rehearse(self, acme: Acme, hostname: str, answer: "Answer") -> None:
        """Order at the CA's directory for tests, if it has one, and throw the certificate away.

        Raises:
            CertificateRefused: it would be refused in earnest too.
        """
        if (directory_url := REHEARSALS.get(acme.directory_url)) is None:
            return
        rehearsal = structs.replace(acme, directory_url=directory_url, external_account=None)
        try:
            await asyncio.to_thread(self.account(rehearsal).order, hostname, answer)
        except CertificateRefused as error:
            raise CertificateRefused(
                f"{error} (This was tried at {directory_url}, where failures use up no limit of the CA.)",
                retry_seconds=error.retry_seconds,
            ) from error

    async def _spend(self, domain_id: str) -> None:
        """Count an order; raises CertificateRefused if there is to be none now."""
        since, answer = time.time() - WEEK_SECONDS, await self._ask(domain_id)
        for known in self._records.values():
            known.ordered = [at for at in known.ordered if at > since]
        record = self._records[domain_id]
        if answer is None:
            refuse_beyond_own(record.ordered, [at for known in self._records.values() for at in known.ordered])
        elif not answer.is_granted:
            raise CertificateRefused(answer.reason, retry_seconds=answer.retry_seconds)
        record.ordered.append(time.time())
