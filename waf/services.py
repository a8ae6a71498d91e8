"""Verbs on policies and IP lists."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from domains.models import Domain
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.schema import NETWORKS_MAX, bucket_of, canonical_network
from servers import revisions
from waf import rules
from waf.models import ListEntry, ListKind, Policy

BATCH = 1_000
AUDITED_MAX = 100


def canonical_entry(text: str) -> str:
    """Return an address or CIDR network in canonical form; a bare address becomes a /32 or /128.

    Raises:
        InvalidInput: neither an address nor a network, or a network that is everybody.
    """
    try:
        network = canonical_network(text.strip(" "))
    except ValueError as error:
        raise InvalidInput(
            "Enter an IPv4 or IPv6 address or network, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.",
            field="network",
        ) from error
    if ipaddress.ip_network(network).prefixlen == 0:
        raise InvalidInput(
            f"{network} is every address; to switch a site off or open it, change its policy.", field="network"
        )
    return network


def _lock(domain: Domain) -> None:
    """Lock a domain before its servers, as `change_domain` does: a new entry's foreign key would lock it after them."""
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)


@transaction.atomic
def change_policy(
    *,
    policy: Policy,
    actor: User,
    mode: str | None = None,
    level: str | None = None,
    groups: Mapping[str, str] | None = None,
) -> Policy:
    """Change what is given and push it; `groups` are all groups that have a mode of their own.

    Raises:
        InvalidInput: there is no such group or mode.
    """
    row: Policy = Policy.objects.select_for_update().get(pk=policy.pk)
    before = {"mode": row.mode, "level": row.level, "groups": row.groups}
    row.mode, row.level = mode or row.mode, level or row.level
    if groups is not None:
        row.groups = rules.canonical_groups(groups)
    changed = audit.changes(before, {"mode": row.mode, "level": row.level, "groups": row.groups})
    if changed:
        row.save()
        cause = audit.record(actor, audit.Action.POLICY_CHANGED, row.domain, changed)
        revisions.bump(row.domain.servers.all(), cause=cause, touched=[row.domain_id])
    return row


@transaction.atomic
def add_list_entry(*, domain: Domain, kind: str, network: str, note: str = "", actor: User) -> ListEntry:
    """Put a network on the allow or deny list of a domain.

    Raises:
        InvalidInput: not a network.
        Conflict: it is on that list.
        LimitReached: the lists of the account are full.
    """
    canonical = canonical_entry(network)
    _lock(domain)
    if ListEntry.objects.count() >= NETWORKS_MAX:
        raise LimitReached(f"The lists of this account hold {NETWORKS_MAX} entries; remove some first.")
    entry = ListEntry(domain=domain, kind=kind, network=canonical, note=note)
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError as error:
        raise Conflict(f"{canonical} is on this list already.", field="network") from error
    cause = audit.record(actor, audit.Action.LIST_ENTRY_ADDED, domain, {kind: [None, canonical]})
    revisions.bump(domain.servers.all(), cause=cause, touched=[entry.touches])
    return entry


@transaction.atomic
def replace_lists(
    *,
    domain: Domain,
    allow: Iterable[str],
    deny: Iterable[str],
    actor: User,
    notes: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Make both lists of a domain equal these canonical networks.

    `notes` are those of (kind, network); without them entries that stay keep theirs and new ones have none.

    Raises:
        LimitReached: the lists of the account would be too long.
        Conflict: somebody else changes them at the same moment.
    """
    _lock(domain)
    rows = ListEntry.objects.filter(domain=domain).values_list("kind", "network", "pk")
    present = {(kind, network): pk for kind, network, pk in rows}
    wanted = {(ListKind.ALLOW, network) for network in allow} | {(ListKind.DENY, network) for network in deny}
    gone, new = sorted(present.keys() - wanted), sorted(wanted - present.keys())
    if ListEntry.objects.count() - len(gone) + len(new) > NETWORKS_MAX:
        raise LimitReached(f"The lists of this account hold {NETWORKS_MAX} entries; remove some first.")
    _put_entries(domain, [present[key] for key in gone], new, notes or {})
    changed: dict[str, list[Any]] = {
        kind: [_of_kind(gone, kind), _of_kind(new, kind)] for kind in ListKind.values if gone or new
    }
    if notes is not None:
        noted = _put_notes(domain, notes)
        changed |= {"notes": [None, noted]} if noted else {}
    changed = {name: values for name, values in changed.items() if any(values)}
    if changed:
        cause = audit.record(actor, audit.Action.LISTS_REPLACED, domain, changed)
        if gone or new:
            touched = {f"{domain.pk}/{bucket_of(network)}" for _, network in (*gone, *new)}
            revisions.bump(domain.servers.all(), cause=cause, touched=touched)


def _put_entries(
    domain: Domain, gone: Sequence[Any], new: Sequence[tuple[str, str]], notes: Mapping[tuple[str, str], str]
) -> None:
    for start in range(0, len(gone), BATCH):
        ListEntry.objects.filter(pk__in=gone[start : start + BATCH]).delete()
    entries = [
        ListEntry(
            account_id=domain.account_id, domain=domain, kind=kind, network=name, note=notes.get((kind, name), "")
        )
        for kind, name in new
    ]
    try:
        with transaction.atomic():
            ListEntry.objects.bulk_create(entries, batch_size=BATCH)
    except IntegrityError as error:
        raise Conflict(f"Somebody else is changing the lists of {domain}; try again.") from error


def _put_notes(domain: Domain, notes: Mapping[tuple[str, str], str]) -> int:
    """Set the notes of a domain's entries, which no shield sees; returns how many differed."""
    rows = [
        row for row in ListEntry.objects.filter(domain=domain) if row.note != notes.get((row.kind, row.network), "")
    ]
    for row in rows:
        row.note = notes.get((row.kind, row.network), "")
    ListEntry.objects.bulk_update(rows, ["note"], batch_size=BATCH)
    return len(rows)


def _of_kind(keys: Sequence[tuple[str, str]], kind: str) -> list[str]:
    """Return the networks of one list, shortened to what an audit entry should hold."""
    networks = [network for of, network in keys if of == kind]
    more = len(networks) - AUDITED_MAX
    return networks[:AUDITED_MAX] + ([f"and {more} more"] if more > 0 else [])


@transaction.atomic
def remove_list_entry(*, entry: ListEntry, actor: User) -> None:
    """Take a network off its list."""
    domain = entry.domain
    cause = audit.record(actor, audit.Action.LIST_ENTRY_REMOVED, domain, {entry.kind: [entry.network, None]})
    entry.delete()
    revisions.bump(domain.servers.all(), cause=cause, touched=[entry.touches])
