"""What an origin's script asks for with its token: to join, its configuration, another key."""

import re

from django.db import transaction
from django.utils import timezone

from accounts import audit
from billing import entitlements
from lumos.errors import Conflict, InvalidInput
from lumos_agent.tunnel import KEEPALIVE_SECONDS
from servers import revisions, wake
from servers.enrolment import token_hash
from servers.models import ApplyState, Server
from servers.tunnel_addresses import origin_address, shield_address
from servers.tunnel_ends import lock_account
from servers.tunnel_models import Tunnel, TunnelShield
from servers.tunnel_parts import network
from servers.tunnels import JOIN_PREFIX, checked_key, put_public_key, require_unused

NEW_KEY_WANTED = "# A new key is wanted."
_TOKEN = re.compile(r"lmto_[0-9a-f]{64}")
_PLAIN = re.compile(r"[^A-Za-z0-9 ._-]")


def tunnel_by_join_token(token: str) -> Tunnel | None:
    """Return the tunnel that a join token belongs to, of whatever account: this is what opens the scope."""
    rows = Tunnel.unscoped.filter(join_hash=token_hash(token), join_expires_at__gt=timezone.now())
    found: Tunnel | None = rows.first() if token.startswith(JOIN_PREFIX) else None
    return found


def tunnel_by_token(token: str) -> Tunnel | None:
    """Return the tunnel whose script has this token, of whatever account: this is what opens the scope."""
    rows = Tunnel.unscoped.filter(token_hash=token_hash(token))
    found: Tunnel | None = rows.first() if _TOKEN.fullmatch(token) else None
    return found


@transaction.atomic
def join(*, tunnel: Tunnel, join_token: str, public_key: str, token: str) -> Tunnel:
    """Let a machine be the origin of a tunnel: with its key, and the token that its script will have. Works once.

    Raises:
        InvalidInput: key or token are not what the script makes.
        Conflict: the join token was used meanwhile, or the key is another machine's.
    """
    if not _TOKEN.fullmatch(token):
        raise InvalidInput("The token is no token of a tunnel's script.", field="token")
    entitlements.require_active(tunnel.account_id)
    lock_account()
    row = Tunnel.objects.select_for_update().get(pk=tunnel.pk)
    if row.join_hash != token_hash(join_token) or not row.can_join:
        raise Conflict("This command was used already. Ask for another one in the dashboard.")
    row.join_hash, row.join_expires_at, row.token_hash = None, None, token_hash(token)
    row.save(update_fields=["join_hash", "join_expires_at", "token_hash"])
    return put_public_key(tunnel=row, public_key=public_key, actor=None)


@transaction.atomic
def offer_key(*, tunnel: Tunnel, public_key: str) -> bool:
    """Take the key that an origin is about to change to; True as soon as every connected shield knows it.

    Raises:
        InvalidInput, Conflict: the key cannot be used.
    """
    key = checked_key(public_key)
    entitlements.require_active(tunnel.account_id)
    lock_account()
    row = Tunnel.objects.select_for_update().get(pk=tunnel.pk)
    if key not in (row.public_key, row.next_public_key):
        require_unused(key, row)
        row.next_public_key, row.rotation_wanted_at = key, None
        row.save()
        entry = audit.record(None, audit.Action.TUNNEL_KEY_CHANGED, row, {"new key": [None, "offered"]})
        revisions.bump(Server.objects.all(), cause=entry)
    waiting = Server.objects.filter(lease_until__gt=timezone.now()).exclude(apply_state=ApplyState.APPLIED)
    return not waiting.exists()


def fetch(tunnel: Tunnel) -> str:
    """Return the configuration of an origin's script, and note that it asked."""
    Tunnel.objects.filter(pk=tunnel.pk).update(fetched_at=timezone.now())
    wake.pages_on_commit(tunnel.account_id, "servers")
    return configuration(tunnel)


def configuration(tunnel: Tunnel) -> str:
    """Return the file that wg-quick(8) reads, but for the private key, which only the origin has."""
    plan, ends = network(), list(TunnelShield.objects.select_related("server"))
    addresses = [f"{origin_address(plan.network, end.place, tunnel.place)}/32" for end in ends]
    lines = [NEW_KEY_WANTED] if tunnel.rotation_wanted_at else []
    lines += ["[Interface]", f"Address = {', '.join(addresses)}", f"MTU = {plan.mtu}"]
    for end in ends:
        own, shield = origin_address(plan.network, end.place, tunnel.place), shield_address(plan.network, end.place)
        lines += ["", f"# {_PLAIN.sub('_', end.server.name)}", *_peer_lines(end, shield, own)]
    return "\n".join([*lines, ""])


def _peer_lines(end: TunnelShield, shield: str, own: str) -> list[str]:
    """Return the section of one shield, or why there is none."""
    is_new = bool(end.next_public_key)
    key, number = (end.next_public_key, end.key_number + 1) if is_new else (end.public_key, end.key_number)
    host = end.server.public_ipv4 or (f"[{end.server.public_ipv6}]" if end.server.public_ipv6 else "")
    if not key:
        return ["# has not reported its key yet"]
    if not host:
        return ["# has no public address in the dashboard yet"]
    return [
        "[Peer]",
        f"PublicKey = {key}",
        f"Endpoint = {host}:{end.port_of(number)}",
        f"AllowedIPs = {shield}/32",
        f"# Route = {shield}/32 src {own}",
        f"PersistentKeepalive = {KEEPALIVE_SECONDS}",
    ]
