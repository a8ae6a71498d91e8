"""Bans: who went over a limit at one shield is denied by all shields of the account, for a while."""

import ipaddress
import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from lumos.errors import LimitReached
from lumos.net import own_addresses
from lumos_agent import protocol
from lumos_agent.schema import canonical_network
from servers.models import Server
from waf import lists
from waf.compiler import guard_parts
from waf.entries import networks_around
from waf.models import ListEntry, ListKind, Source

log = logging.getLogger(__name__)

BAN = timedelta(hours=1)
PER_MINUTE = 60
BANS_MAX = 10_000


def refusal(network: str) -> str | None:
    """Return why a network must not be banned by a machine, or None."""
    banned: Any = ipaddress.ip_network(network)
    servers = Server.objects.values_list("public_ipv4", "public_ipv6")
    own = {address for pair in servers for address in pair if address} | own_addresses()
    if any(ipaddress.ip_address(address) in banned for address in own):
        return "an address of a server of this account or of the control plane"
    allowed = ListEntry.objects.filter(kind=ListKind.ALLOW)
    if allowed.filter(network__in=networks_around(str(banned.network_address))).exists():
        return "on an allow list"
    inside = [ipaddress.ip_network(text) for text in _allowed_like(allowed, banned)]
    if any(network.version == banned.version and network.subnet_of(banned) for network in inside):
        return "it contains an address on an allow list"
    return None


def _allowed_like(allowed: Any, banned: Any) -> list[str]:
    """Return the single addresses on allow lists; the database narrows them to those that look alike."""
    if banned.prefixlen == banned.max_prefixlen:
        return []
    separator = "." if banned.version == 4 else ":"
    beginning = str(banned.network_address).split(separator)[0] + separator
    rows = allowed.filter(network__startswith=beginning, network__contains="/")
    return list(rows.values_list("network", flat=True))


def ban_offenders(events: Iterable[protocol.Event], *, server_id: Any) -> None:
    """Ban the clients in a shield's events that went over a limit whose rule demands it."""
    limited = [event for event in events if event.action == "limit"]
    if not limited:
        return
    guards = guard_parts({event.domain_id for event in limited})
    banning = {
        (str(domain_id), f"rate:{rule.id}")
        for domain_id, guard in guards.items()
        for rule in guard.rates
        if rule.action == "ban"
    }
    found = {
        _client(event.client): rule for event in limited for rule in event.rules if (event.domain_id, rule) in banning
    }
    found.pop("", None)
    if not found:
        return
    server = Server.objects.get(pk=server_id)
    for network, rule in found.items():
        try:
            ban(network=network, reason=rule, server=server)
        except LimitReached as error:
            log.warning("ban_refused", extra={"server_id": str(server_id), "network": network, "why": error.detail})


def _client(address: str) -> str:
    """Return what counts as one client: an IPv4 address, an IPv6 /64; "" for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return canonical_network(f"{parsed}/{32 if parsed.version == 4 else 64}")


@transaction.atomic
def ban(*, network: str, reason: str, server: Server) -> None:
    """Deny a client on all shields of the account for BAN, unless that would hurt; a second ban lengthens it."""
    account = lists.lock_scope(None)
    now = timezone.now()
    bans = ListEntry.objects.filter(source=Source.BAN)
    why = refusal(network)
    if why is None and bans.filter(created_at__gt=now - timedelta(minutes=1)).count() >= PER_MINUTE:
        why = f"{PER_MINUTE} bans within a minute"
    if why is None and bans.count() >= BANS_MAX:
        why = f"{BANS_MAX} bans at once"
    if why is not None:
        log.warning("ban_refused", extra={"server_id": str(server.pk), "network": network, "why": why})
        return
    expires_at = now + BAN
    denied = ListEntry.objects.filter(domain=None, kind=ListKind.DENY, network=network, subscription=None).first()
    if denied is not None:
        if denied.expires_at is not None and denied.expires_at < expires_at:
            denied.expires_at = expires_at
            denied.save(update_fields=["expires_at"])
        return
    lists.require_room(1)
    note = f"{server.name}: {reason}"[:200]
    ListEntry(kind=ListKind.DENY, network=network, note=note, source=Source.BAN, expires_at=expires_at).save()
    changed = {ListKind.DENY: [None, network], "reason": [None, note]}
    cause = audit.record(None, audit.Action.BAN_SHARED, account, changed)
    lists.bump(None, cause=cause, networks=[network])
