"""Orders at an ACME CA (RFC 8555: HTTP-01, for wildcards DNS-01), with one account key per shield.

Blocking: call it in a thread.
"""

import contextlib
import datetime
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import jwa, jwk
from josepy.errors import Error as JoseError

from lumos_agent.config import write_atomically
from lumos_agent.errors import CertificateRefused

log = logging.getLogger(__name__)

ORDER_SECONDS = 90
NETWORK_SECONDS = 20
HOUR_SECONDS = 3600
_RATE_LIMITED = "rateLimited"

Answer = Callable[[str, str], None]


class Account:
    """The shield's account at one CA, made at the first order. `ca_file` is for a CA that only a test trusts.

    `external`: key id and MAC key (base64url) of an account that the CA keeps elsewhere.
    """

    def __init__(
        self, folder: Path, directory_url: str, email: str, ca_file: str = "", external: tuple[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._directory_url = directory_url
        self._email = email
        self._ca_file = ca_file
        self._external = external
        self._client: client.ClientV2 | None = None

    def order(self, hostname: str, answer: Answer) -> bytes:
        """Return private key and chain of a new certificate as PEM.

        `answer(token, key authorization)` returns when the answer can be fetched.

        Raises:
            CertificateRefused: with a reason that a person understands, and when to try again.
        """
        try:
            return self._order(hostname, answer)
        except errors.ValidationError as error:
            raise CertificateRefused(f"The CA could not check {hostname}: {_validation_words(error)}") from error
        except (errors.Error, messages.Error, JoseError) as error:
            raise _refusal(error) from error
        except requests.RequestException as error:
            raise CertificateRefused(f"The CA at {self._directory_url} cannot be reached: {_cause(error)}.") from error

    def _order(self, hostname: str, answer: Answer) -> bytes:
        ca = self._connected()
        key = ec.generate_private_key(ec.SECP256R1())
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        order = ca.new_order(crypto_util.make_csr(key_pem, [hostname]))
        for authorization in order.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue
            kind = challenges.DNS01 if hostname.startswith("*.") else challenges.HTTP01
            body = next(c for c in authorization.body.challenges if isinstance(c.chall, kind))
            response = body.response(ca.net.key)
            answer(body.chall.encode("token"), response.key_authorization)
            ca.answer_challenge(body, response)
        deadline = datetime.datetime.now() + datetime.timedelta(seconds=ORDER_SECONDS)  # noqa: DTZ005 - acme compares naive times
        finished = ca.poll_and_finalize(order, deadline)
        return key_pem + finished.fullchain_pem.encode()

    def renewal_time(self, certificate_pem: bytes) -> datetime.datetime | None:
        """Return when the CA wants a certificate renewed (RFC 9773), or None if it does not say."""
        try:
            return self._connected().renewal_time(certificate_pem)[0]
        except (errors.Error, messages.Error, requests.RequestException) as error:
            log.info("renewal_information_missing", extra={"error": str(error)[:200]})
            return None

    def _connected(self) -> client.ClientV2:
        if self._client is None:
            network = client.ClientNetwork(
                self._key(), alg=jwa.ES256, user_agent="lumos-agent", timeout=NETWORK_SECONDS
            )
            if self._ca_file:
                network.verify_ssl = self._ca_file  # type: ignore[assignment]
            directory = client.ClientV2.get_directory(self._directory_url, network)
            made = client.ClientV2(directory, network)
            self._register(made)
            self._client = made
        return self._client

    def _key(self) -> jwk.JWKEC:
        path = self._folder / "account.key"
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            write_atomically(path, key.private_bytes(encoding, kind, serialization.NoEncryption()))
        return jwk.JWKEC(key=serialization.load_pem_private_key(path.read_bytes(), None))

    def _register(self, ca: client.ClientV2) -> None:
        """Use the account of this key, which registering twice does not double (RFC 8555, 7.3.1)."""
        path, known = self._folder / "account.json", {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_bytes())
        if (uri := known.get(self._name())) is not None:
            ca.net.account = messages.RegistrationResource(uri=uri, body=messages.Registration())
            return
        wanted = messages.NewRegistration.from_data(
            email=self._email or None, terms_of_service_agreed=True, external_account_binding=self._binding(ca)
        )
        try:
            account = ca.new_account(wanted)
        except errors.ConflictError as error:
            account = messages.RegistrationResource(uri=error.location, body=messages.Registration())
            ca.net.account = account
        write_atomically(path, json.dumps(known | {self._name(): account.uri}).encode())

    def _name(self) -> str:
        """Return what tells this account from others that the shield had."""
        return f"{self._directory_url} {self._external[0]}" if self._external else self._directory_url

    def _binding(self, ca: client.ClientV2) -> dict[str, Any] | None:
        if self._external is None:
            return None
        key_id, mac_key = self._external
        try:
            own_key = self._key().public_key()
            binding = messages.ExternalAccountBinding.from_data(own_key, key_id, mac_key, ca.directory)
        except (ValueError, TypeError) as error:
            raise CertificateRefused(
                "The MAC key of the account at the CA is not base64url; enter it again."
            ) from error
        return binding


def _validation_words(error: errors.ValidationError) -> str:
    details = [
        challenge.error.detail
        for authorization in error.failed_authzrs
        for challenge in authorization.body.challenges
        if challenge.error is not None
    ]
    return "; ".join(filter(None, details))[:500] or "no reason given"


def _refusal(error: Exception) -> CertificateRefused:
    if isinstance(error, messages.Error) and _RATE_LIMITED in (error.typ or ""):
        return CertificateRefused(
            f"The CA's limit for this name is used up: {error.detail}. It is tried again by itself.",
            retry_seconds=HOUR_SECONDS,
        )
    detail = error.detail if isinstance(error, messages.Error) else str(error)
    return CertificateRefused(f"The CA refused: {str(detail or error)[:500]}")


def _cause(error: Exception) -> str:
    """Return the innermost reason of a chain of network errors."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return str(getattr(error, "strerror", None) or error)[:200]
