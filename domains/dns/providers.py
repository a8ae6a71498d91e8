"""Verbs on the providers of an account."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from domains.dns.rfc2136 import ALGORITHMS
from domains.failover_models import DnsProvider, ProviderKind
from domains.validators import canonical_hostname, canonical_origin
from lumos.errors import AppError, Conflict, InvalidInput
from lumos.secrets import Secret

PROVIDERS_MAX = 50
_SHOWN = ("name", "kind", "zone", "server", "port", "key_name", "algorithm")


@dataclass(frozen=True, kw_only=True)
class ProviderData:
    """A provider as a person states it."""

    name: str
    kind: str
    zone: str
    credential: str
    server: str = ""
    port: int = 53
    key_name: str = ""
    algorithm: str = "hmac-sha256"


def _named(text: str, field: str) -> str:
    try:
        return canonical_hostname(text)
    except AppError as error:
        raise InvalidInput(error.detail, field=field) from error


def _checked(data: ProviderData) -> dict[str, Any]:
    values: dict[str, Any] = {"name": data.name.strip(), "kind": data.kind, "zone": _named(data.zone, "zone")}
    if not data.credential or not data.credential.isascii() or not data.credential.isprintable():
        raise InvalidInput("Enter the API token or TSIG secret: printable ASCII.", field="credential")
    if data.kind == ProviderKind.CLOUDFLARE:
        return values
    if not data.server:
        raise InvalidInput("Enter the primary name server that takes updates.", field="server")
    if data.algorithm not in ALGORITHMS:
        raise InvalidInput(f"Choose one of {', '.join(ALGORITHMS)}.", field="algorithm")
    try:
        base64.b64decode(data.credential, validate=True)
    except binascii.Error as error:
        raise InvalidInput("A TSIG secret is base64, as `tsig-keygen` prints it.", field="credential") from error
    try:
        server = canonical_origin(data.server)
    except AppError as error:
        raise InvalidInput(error.detail, field="server") from error
    key_name = _named(data.key_name, "key_name") if "." in data.key_name else data.key_name.lower()
    if not key_name or not all(part.isalnum() or part in "-_." for part in key_name):
        raise InvalidInput("A key has a name such as lumos or lumos.example.com.", field="key_name")
    return values | {"server": server, "port": data.port, "key_name": key_name, "algorithm": data.algorithm}


@transaction.atomic
def add_provider(*, data: ProviderData, actor: User) -> DnsProvider:
    """Keep access to a provider; its credential is never shown again.

    Raises:
        InvalidInput: a value breaks a rule.
        Conflict: the name is taken, or there are too many.
    """
    if DnsProvider.objects.count() >= PROVIDERS_MAX:
        raise Conflict(f"An account has at most {PROVIDERS_MAX} DNS providers; remove one first.")
    sealed: Any = Secret.of(data.credential)
    row = DnsProvider(**_checked(data), credential=sealed)
    _save_unique(row)
    audit.record(actor, audit.Action.DNS_PROVIDER_ADDED, row, {name: [None, getattr(row, name)] for name in _SHOWN})
    return row


def _save_unique(row: DnsProvider) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        text = f"A DNS provider named “{row.name}” exists already; choose another name."
        raise Conflict(text, field="name") from error


@transaction.atomic
def remove_provider(*, provider: DnsProvider, actor: User) -> None:
    """Forget a provider; the records there stay.

    Raises:
        Conflict: domains are published there.
    """
    hostnames = list(provider.failovers.values_list("domain__hostname", flat=True)[:6])
    if hostnames:
        shown = ", ".join(hostnames[:5]) + ("…" if len(hostnames) > 5 else "")
        raise Conflict(f"{shown} is published there; choose another provider for it first.")
    audit.record(actor, audit.Action.DNS_PROVIDER_REMOVED, provider, {"name": [provider.name, None]})
    provider.delete()
