"""Bans that the shields of an account share: a deny entry for all domains, with an end."""

import ipaddress
import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import active_account_id
from lumos.errors import LimitReached
from lumos.net import own_addresses
from lumos_agent import protocol
from lumos_agent.schema import canonical_network
from servers.models import Server
from waf import lists
from waf.entries import networks_around
from waf.models import ListEntry, ListKind, Source, WafSettings

log = logging.getLogger(__name__)

PREFIX_MIN = {4: 24, 6: 48}
PER_MINUTE = 60
BANS_MAX = 10_000


def shares_bans() -> bool:
    """Whether the account in scope wants its shields to share bans."""
    return bool(WafSettings.objects.filter(share_bans=True).exists())


@transaction.atomic
def change_settings(*, share_bans: bool, actor: User) -> None:
    """Change what holds for the WAF of the whole account."""
    account = Account.objects.select_for_update(no_key=True).get(pk=active_account_id())
    row = WafSettings.objects.first() or WafSettings()
    changed = audit.changes({"share_bans": row.share_bans}, {"share_bans": share_bans})
    row.share_bans = share_bans
    row.save()
    if changed:
        audit.record(actor, audit.Action.WAF_SETTINGS_CHANGED, account, changed)


def refusal(network: str) -> str | None:
    """Return why a network must not be banned by a machine, or None."""
    banned: Any = ipaddress.ip_network(network)
    if banned.prefixlen < PREFIX_MIN[banned.version]:
        return "wider than one client may be"
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


def take(ban: protocol.Ban, *, server_id: Any) -> None:
    """Share what a shield of the account in scope bans; what must not be shared is logged."""
    server = Server.objects.get(pk=server_id)
    try:
        share_ban(network=ban.network, seconds=ban.seconds, reason=ban.reason, server=server)
    except LimitReached as error:
        log.warning("ban_refused", extra={"server_id": str(server_id), "why": error.detail})


@transaction.atomic
def share_ban(*, network: str, seconds: int, reason: str, server: Server) -> bool:
    """Deny a client on all shields of the account in scope for a while; False if that must not or need not be.

    A network that is banned already keeps the later of both ends.
    """
    if not shares_bans():
        return False
    account = lists.lock_scope(None)
    try:
        network = canonical_network(network)
    except ValueError:
        return False
    now = timezone.now()
    bans = ListEntry.objects.filter(source=Source.BAN)
    why = refusal(network)
    if why is None and bans.filter(created_at__gt=now - timedelta(minutes=1)).count() >= PER_MINUTE:
        why = f"{PER_MINUTE} bans within a minute"
    if why is None and bans.count() >= BANS_MAX:
        why = f"{BANS_MAX} bans at once"
    if why is not None:
        log.warning("ban_refused", extra={"server_id": str(server.pk), "network": network, "why": why})
        return False
    expires_at = now + timedelta(seconds=min(seconds, protocol.BAN_SECONDS_MAX))
    denied = ListEntry.objects.filter(domain=None, kind=ListKind.DENY, network=network, subscription=None).first()
    if denied is not None:
        if denied.expires_at is not None and denied.expires_at < expires_at:
            denied.expires_at = expires_at
            denied.save(update_fields=["expires_at"])
        return False
    lists.require_room(1)
    note = f"{server.name}: {reason}"[:200]
    ListEntry(kind=ListKind.DENY, network=network, note=note, source=Source.BAN, expires_at=expires_at).save()
    changed = {ListKind.DENY: [None, network], "reason": [None, note]}
    cause = audit.record(None, audit.Action.BAN_SHARED, account, changed)
    lists.bump(None, cause=cause, networks=[network])
    return True
