"""Which CA the shields of an account order certificates from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from django.db import transaction

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import active_account_id
from domains.acme import authority
from domains.models import CertificateAuthority
from domains.traffic import refusal
from lumos.errors import InvalidInput
from lumos_agent.schema import Acme, ExternalAccount
from servers import revisions
from servers.models import Server


class Choice(NamedTuple):
    """A CA that people know by name."""

    title: str
    directory_url: str
    needs_external_account: bool = False


CHOICES = {
    "letsencrypt": Choice("Let's Encrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    "letsencrypt-staging": Choice(
        "Let's Encrypt, staging (for tests: browsers do not trust it)",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
    "zerossl": Choice("ZeroSSL", "https://acme.zerossl.com/v2/DV90", needs_external_account=True),
    "google": Choice(
        "Google Trust Services", "https://dv.acme-v02.api.pki.goog/directory", needs_external_account=True
    ),
}


def recipients() -> list[dict[str, str]]:
    """Return the servers of the account, each with the key to seal to ("" until its agent has connected)."""
    rows = Server.objects.order_by("name")
    return [{"server": str(s.pk), "name": s.name, "sealing_key": str(s.facts.get("sealing_key", ""))} for s in rows]


@transaction.atomic
def put_authority(
    *, directory_url: str, email: str, external_key_id: str, sealed_keys: Mapping[str, str], actor: User
) -> None:
    """Let all shields order from this CA; an empty `directory_url` means the installation's.

    Keys of the same external account that were sealed earlier stay where `sealed_keys` names no other.

    Raises:
        InvalidInput: a value breaks a rule, or the key of an external account is not sealed to all shields.
    """
    account = Account.objects.select_for_update(no_key=True).get(pk=active_account_id())
    row = authority()
    before = _described(row)
    if not directory_url:
        if row is not None:
            row.delete()
    else:
        checked_authority(directory_url, email, external_key_id)
        _check_keys(external_key_id, sealed_keys)
        row = row or CertificateAuthority()
        is_same = (row.directory_url, row.external_key_id) == (directory_url, external_key_id)
        kept = row.external_keys if is_same else {}
        row.directory_url, row.email, row.external_key_id = directory_url, email, external_key_id
        row.external_keys = _complete(kept, sealed_keys) if external_key_id else {}
        row.save()
    changed = audit.changes(before, _described(authority()))
    if changed or sealed_keys:
        cause = audit.record(actor, audit.Action.AUTHORITY_CHANGED, account, changed)
        revisions.bump(Server.objects.all(), cause=cause)


def _described(row: CertificateAuthority | None) -> dict[str, Any]:
    names = ("directory_url", "email", "external_key_id")
    return {name: getattr(row, name) or None for name in names} if row else dict.fromkeys(names)


def checked_authority(directory_url: str, email: str, external_key_id: str) -> None:
    """Refuse a CA that cannot be asked.

    Raises:
        InvalidInput: a value breaks a rule, or the CA wants an external account.
    """
    values: dict[str, Any] = {"directory_url": directory_url, "email": email}
    try:
        msgspec.convert(values, Acme)
        if external_key_id:
            msgspec.convert({"key_id": external_key_id}, ExternalAccount)
    except msgspec.ValidationError as error:
        found = refusal(error)
        raise InvalidInput(found.detail, field="external_key_id" if found.field == "key_id" else found.field) from error
    known = next((choice for choice in CHOICES.values() if choice.directory_url == directory_url), None)
    if known is not None and known.needs_external_account and not external_key_id:
        raise InvalidInput(
            f"{known.title} needs an account of yours: enter the key id and the MAC key that its site shows.",
            field="external_key_id",
        )


def _check_keys(external_key_id: str, sealed_keys: Mapping[str, str]) -> None:
    for sealed in sealed_keys.values():
        try:
            msgspec.convert({"key_id": external_key_id, "sealed_key": sealed}, ExternalAccount)
        except msgspec.ValidationError as error:
            raise InvalidInput("A sealed key is not base64, or its key id is missing.", field="keys") from error


def _complete(kept: Mapping[str, str], sealed: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of the servers that there are; a server that comes later learns that its key is missing."""
    servers = {str(pk) for pk in Server.objects.values_list("pk", flat=True)}
    if foreign := sealed.keys() - servers:
        raise InvalidInput(f"There is no server {min(foreign)}.", field="keys")
    keys = {server: key for server, key in {**kept, **sealed}.items() if server in servers}
    if not keys:
        raise InvalidInput("The MAC key is missing: seal it to each shield.", field="keys")
    return keys
