"""What is to be known of signed zones: the DS of each shield's key, and what is still to be done about it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import dns.dnssec
import dns.name
import dns.rdata
from django.db.models import prefetch_related_objects

from domains.delegation import Signers
from domains.zone_models import Zone, ZoneServer

State = Literal["waiting", "publishing", "enter", "trusted_soon", "trusted"]
_DIGESTS = ("SHA256", "SHA384")


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A shield that signs a zone. `ds` is what to enter at the registrar, empty before every shield publishes its key.

    `waiting`: it has made no key yet; `publishing`: some shield does not publish the keys of all yet; `enter`: its DS
    is to be entered; `trusted_soon`: the parent has it, and resolvers may remember the time before until
    `row.ds_trusted_at`.
    """

    row: ZoneServer
    state: State
    ds: str = ""


def digests_of(row: ZoneServer) -> list[str]:
    """Return the data of the DS records that stand for a shield's key, the one to enter first (RFC 4509, RFC 6605)."""
    if not row.dnskey:
        return []
    key: Any = dns.rdata.from_text("IN", "DNSKEY", f"257 3 13 {row.dnskey}")
    name = dns.name.from_text(row.zone.name)
    return [dns.dnssec.make_ds(name, key, kind).to_text() for kind in _DIGESTS]


def signers_of(zone: Zone) -> list[Signer]:
    """Return the shields of a signed zone in order; none if it is not signed."""
    if not zone.dnssec:
        return []
    prefetch_related_objects([zone], "nameservers__server", "nameservers__zone")
    rows = sorted(zone.nameservers.all(), key=lambda row: row.number)
    published = _are_published(rows)
    return [_signer(row, is_published=published) for row in rows]


def _are_published(rows: Iterable[ZoneServer]) -> bool:
    """Whether every shield of a zone has a key and serves the keys of all."""
    return all(row.dnskey and row.server.applied_revision >= row.keys_revision for row in rows)


def _signer(row: ZoneServer, *, is_published: bool) -> Signer:
    digests = digests_of(row)
    if not digests:
        return Signer(row=row, state="waiting")
    if row.ds_trusted_at is not None:
        is_named = row.is_listed
        return Signer(row=row, state="trusted" if is_named else "trusted_soon", ds=digests[0])
    return Signer(row=row, state="enter", ds=digests[0]) if is_published else Signer(row=row, state="publishing")


def problems_at_parent(zone: Zone, found: Signers | None) -> list[str]:
    """Return what is wrong with the DS records that the parent has of a zone, and what to do."""
    if found is None:
        return ["The parent zone could not be asked for its DS records."] if zone.dnssec else []
    if not zone.dnssec:
        return [_UNSIGNED] if found.digests else []
    signers = signers_of(zone)
    known = {digest for signer in signers for digest in digests_of(signer.row)}
    missing = [s for s in signers if s.ds and found.digests.isdisjoint(digests_of(s.row))]
    problems = [f"The DS of ns{s.row.number}.{zone.name} is not entered at the registrar." for s in missing]
    return problems + _unknown(found.digests - known)


_UNSIGNED = (
    "The parent zone has a DS, but this zone is not signed: resolvers that validate refuse it. Remove every DS at your "
    "registrar, or have the zone signed and enter the DS of its shields."
)


def _unknown(digests: Collection[str]) -> list[str]:
    return [f"The DS {digest} is of no shield of this zone; remove it at the registrar." for digest in sorted(digests)]
