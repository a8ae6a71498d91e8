"""Verbs on policies and IP lists."""

import ipaddress

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from domains.models import Domain
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.schema import NETWORKS_MAX, canonical_network
from servers import revisions
from waf.models import ListEntry, Policy


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


@transaction.atomic
def change_policy(*, policy: Policy, actor: User, mode: str | None = None, level: str | None = None) -> Policy:
    """Change what is given and push it."""
    row: Policy = Policy.objects.select_for_update().get(pk=policy.pk)
    before = {"mode": row.mode, "level": row.level}
    row.mode, row.level = mode or row.mode, level or row.level
    changed = audit.changes(before, {"mode": row.mode, "level": row.level})
    if changed:
        row.save()
        cause = audit.record(actor, audit.Action.POLICY_CHANGED, row.domain, changed)
        revisions.bump(row.domain.servers.all(), cause=cause)
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
    if ListEntry.objects.count() >= NETWORKS_MAX:
        raise LimitReached(f"The lists of this account hold {NETWORKS_MAX} entries; remove some first.")
    entry = ListEntry(domain=domain, kind=kind, network=canonical, note=note)
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError as error:
        raise Conflict(f"{canonical} is on this list already.", field="network") from error
    cause = audit.record(actor, audit.Action.LIST_ENTRY_ADDED, domain, {kind: [None, canonical]})
    revisions.bump(domain.servers.all(), cause=cause)
    return entry


@transaction.atomic
def remove_list_entry(*, entry: ListEntry, actor: User) -> None:
    """Take a network off its list."""
    domain = entry.domain
    cause = audit.record(actor, audit.Action.LIST_ENTRY_REMOVED, domain, {entry.kind: [entry.network, None]})
    entry.delete()
    revisions.bump(domain.servers.all(), cause=cause)
