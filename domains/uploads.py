"""Certificates that people bring themselves. The private key arrives sealed to each shield; nobody here can open it."""

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import CertificateSource, Domain, UploadedCertificate
from lumos.errors import InvalidInput
from lumos_agent.schema import Upload
from servers import revisions
from servers.models import Server

CHAIN_BYTES_MAX = 65_536


def recipients(domain: Domain) -> list[dict[str, str]]:
    """Return the servers of a domain in order, each with the key to seal to ("" until its agent has connected)."""
    servers = domain.servers.order_by("assignments__position").filter(assignments__domain=domain)
    return [{"server": str(s.pk), "name": s.name, "sealing_key": str(s.facts.get("sealing_key", ""))} for s in servers]


def _canonical_chain(text: str, hostname: str) -> tuple[str, datetime.datetime]:
    """Return a chain as `openssl` writes it and the end of its first certificate.

    Raises:
        InvalidInput: no chain, for other names, or not valid now.
    """
    if "PRIVATE KEY" in text:
        raise InvalidInput(
            "This holds a private key, sent unsealed: replace it. Give certificates only; the key has its own field "
            "and is sealed before it leaves your machine.",
            field="chain",
        )
    try:
        certificates = x509.load_pem_x509_certificates(text[:CHAIN_BYTES_MAX].encode())
        names = certificates[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InvalidInput(
            "Enter certificates in PEM form, the site's own first: -----BEGIN CERTIFICATE----- …",
            field="chain",
        ) from error
    leaf, dns_names = certificates[0], names.get_values_for_type(x509.DNSName)
    if hostname not in dns_names and f"*.{hostname.partition('.')[2]}" not in dns_names:
        raise InvalidInput(f"The certificate is for {', '.join(dns_names)} and not for {hostname}.", field="chain")
    now, begin, end = timezone.now(), leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not begin <= now < end:
        raise InvalidInput(f"The certificate is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only.", field="chain")
    pem = "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certificates)
    return pem, end


@transaction.atomic
def upload_certificate(*, domain: Domain, chain: str, sealed_keys: Mapping[Any, str], actor: User) -> None:
    """Serve `domain` with an own certificate; `sealed_keys`: {server id: private key sealed to that server}.

    Raises:
        InvalidInput: the chain does not fit, or a server of the domain has no sealed key.
    """
    row = Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    servers: dict[str, Server] = {str(server.pk): server for server in row.servers.all()}
    keys = {str(server): sealed for server, sealed in sealed_keys.items()}
    if not servers:
        raise InvalidInput("Assign a server to this domain first.", field="keys")
    if missing := sorted(servers[pk].name for pk in servers.keys() - keys.keys()):
        raise InvalidInput(f"There is no sealed key for {', '.join(missing)}.", field="keys")
    if foreign := keys.keys() - servers.keys():
        raise InvalidInput(f"This domain is not on server {min(foreign)}.", field="keys")
    pem, end = _canonical_chain(chain, row.hostname)
    for pk, sealed in keys.items():
        try:
            msgspec.convert({"domain_id": str(row.pk), "chain": pem, "sealed_key": sealed}, Upload)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"The sealed key for {servers[pk].name} is not base64.", field="keys") from error
        values = {"chain": pem, "sealed_key": sealed}
        UploadedCertificate.objects.update_or_create(domain=row, server=servers[pk], defaults=values)
    before, row.certificate = row.certificate, CertificateSource.UPLOADED
    row.save(update_fields=["certificate"])
    changed = {"certificate": [before, f"uploaded, valid until {end:%Y-%m-%d}"]}
    revisions.bump(servers.values(), cause=audit.record(actor, audit.Action.CERTIFICATE_UPLOADED, row, changed))
