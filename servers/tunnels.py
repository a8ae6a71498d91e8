"""Tunnels as their owners see them: add, let join, change the key, remove."""

import re
import secrets
import shlex
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import Domain, Origin
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.tunnel import SUFFIX
from servers import revisions
from servers.enrolment import token_hash
from servers.models import Server
from servers.tunnel_addresses import canonical_network, first_free, inside, origins_max
from servers.tunnel_ends import give_places, lock_account
from servers.tunnel_models import Tunnel, TunnelNetwork, TunnelShield
from servers.tunnel_parts import network

JOIN_PREFIX = "lmtj_"
JOIN_FOR = timedelta(hours=24)
SHOWN = 5
MTU_MIN, MTU_MAX = 1280, 1440
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,40}(?<!-)")
_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")


@transaction.atomic
def add_tunnel(*, name: str, actor: User) -> tuple[Tunnel, str]:
    """Add an origin's tunnel to every shield; the second item is the token with which it joins, shown once.

    Raises:
        InvalidInput: no name.
        Conflict: the name is taken.
        LimitReached: the network is full.
    """
    name = name.strip().lower()
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "A tunnel has a name such as web-1: lower-case letters, digits and hyphens, at most 40.", field="name"
        )
    lock_account()
    plan = network()
    place = first_free(Tunnel.objects.values_list("place", flat=True))
    if place >= origins_max(plan.network):
        raise LimitReached(f"{plan.network} has no address left for another origin; choose a larger network first.")
    tunnel = Tunnel(name=name, place=place)
    try:
        with transaction.atomic():
            tunnel.save()
    except IntegrityError as error:
        raise Conflict(f"There is a tunnel {name} already; choose another name.", field="name") from error
    plan.save()
    give_places(Server.objects.order_by("created_at", "pk"))
    token = _open_join(tunnel)
    entry = audit.record(actor, audit.Action.TUNNEL_ADDED, tunnel, {"name": [None, name]})
    revisions.bump(Server.objects.all(), cause=entry)
    return tunnel, token


def _open_join(tunnel: Tunnel) -> str:
    token = JOIN_PREFIX + secrets.token_hex(32)
    tunnel.join_hash, tunnel.join_expires_at = token_hash(token), timezone.now() + JOIN_FOR
    tunnel.save(update_fields=["join_hash", "join_expires_at"])
    return token


@transaction.atomic
def open_join(*, tunnel: Tunnel, actor: User) -> str:
    """Return a new token with which the origin, or a machine in its place, may join once; an earlier one ends."""
    row = Tunnel.objects.select_for_update().get(pk=tunnel.pk)
    token = _open_join(row)
    audit.record(actor, audit.Action.TUNNEL_JOIN_OPENED, row)
    return token


def join_line(token: str) -> str:
    """Return what the origin's owner pastes as root."""
    return f"curl -fsSL {shlex.quote(settings.PUBLIC_URL)}/tunnel | sudo LUMOS_TUNNEL_TOKEN={token} sh"


def checked_key(text: str) -> str:
    """Return a public key (base64 of 32 bytes).

    Raises:
        InvalidInput: it is none.
    """
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise InvalidInput("Enter a WireGuard public key: what `wg pubkey` says, 44 characters.", field="public_key")
    return key


def require_unused(key: str, tunnel: Tunnel) -> None:
    """Refuse a key that another end has.

    Raises:
        Conflict: one has.
    """
    has_key = Q(public_key=key) | Q(next_public_key=key)
    others = Tunnel.objects.exclude(pk=tunnel.pk).filter(has_key)
    if others.exists() or TunnelShield.objects.filter(has_key).exists():
        raise Conflict("Another end of your tunnels has this key; every machine makes its own.", field="public_key")


@transaction.atomic
def put_public_key(*, tunnel: Tunnel, public_key: str, actor: User | None) -> Tunnel:
    """Set an origin's key; the one that it had, if any, ends at once.

    Raises:
        InvalidInput, Conflict: the key cannot be used.
    """
    key = checked_key(public_key)
    lock_account()
    row: Tunnel = Tunnel.objects.select_for_update().get(pk=tunnel.pk)
    if row.public_key == key and not row.next_public_key:
        return row
    require_unused(key, row)
    row.public_key, row.next_public_key, row.rotation_wanted_at = key, "", None
    row.save()
    entry = audit.record(actor, audit.Action.TUNNEL_JOINED, row)
    revisions.bump(Server.objects.all(), cause=entry)
    return row


@transaction.atomic
def want_new_key(*, tunnel: Tunnel, actor: User) -> None:
    """Let the origin's script make another key when it looks next.

    Raises:
        Conflict: the origin has no script, or changes its key already.
    """
    row = Tunnel.objects.select_for_update().get(pk=tunnel.pk)
    if row.token_hash is None:
        raise Conflict("This origin was set up by hand: make a new key there, and enter its public key here.")
    if row.rotation_wanted_at or row.next_public_key:
        raise Conflict("This origin changes its key already.")
    row.rotation_wanted_at = timezone.now()
    row.save()
    audit.record(actor, audit.Action.TUNNEL_KEY_CHANGED, row)


@transaction.atomic
def remove_tunnel(*, tunnel: Tunnel, actor: User) -> None:
    """Cut an origin off.

    Raises:
        Conflict: a domain sends its traffic there.
    """
    lock_account()
    list(TunnelShield.objects.select_for_update().order_by("pk"))
    row = Tunnel.objects.select_for_update().get(pk=tunnel.pk)
    if used := used_by(row.hostname):
        shown = ", ".join(used[:SHOWN]) + ("…" if len(used) > SHOWN else "")
        raise Conflict(f"{shown} would lose an origin: {row.hostname}. Give it another origin first.")
    entry = audit.record(actor, audit.Action.TUNNEL_REMOVED, row, {"name": [row.name, None]})
    row.delete()
    if not Tunnel.objects.exists():
        TunnelShield.objects.all().delete()
    revisions.bump(Server.objects.all(), cause=entry)


def used_by(hostname: str) -> list[str]:
    """Return the hostnames of domains with an origin at the tunnel `hostname`, in a route or in all."""
    direct = Origin.objects.filter(address=hostname).values("domain_id")
    routed = [
        domain.pk
        for domain in Domain.objects.filter(traffic__has_key="routes").only("pk", "traffic")
        if hostname in route_addresses(domain.traffic)
    ]
    rows = Domain.objects.filter(pk__in=direct) | Domain.objects.filter(pk__in=routed)
    return list(rows.order_by("hostname").values_list("hostname", flat=True).distinct())


def route_addresses(traffic: Mapping[str, Any]) -> set[str]:
    """Return the addresses of the path routes of stored traffic settings."""
    return {str(origin["address"]) for route in traffic.get("routes", ()) for origin in route["origins"]}


def require_known(addresses: Iterable[str]) -> None:
    """Refuse origins at tunnels that do not exist, and keep those that do until the caller's transaction ends.

    Raises:
        InvalidInput: there is no such tunnel.
    """
    wanted = {address for address in addresses if address.endswith(SUFFIX)}
    if not wanted:
        return
    rows = Tunnel.objects.select_for_update(no_key=True).order_by("pk")
    rows = rows.filter(name__in=[address.removesuffix(SUFFIX) for address in wanted])
    if missing := sorted(wanted - {tunnel.hostname for tunnel in rows}):
        raise InvalidInput(f"There is no tunnel {missing[0]}; add it under Tunnels first.", field="origins")


@transaction.atomic
def change_network(*, network_text: str, mtu: int, actor: User) -> TunnelNetwork:
    """Give all ends of the account other addresses; scripts at origins follow within a minute, others by hand.

    Raises:
        InvalidInput: no private network, too small, or an origin of a domain is in it.
    """
    wanted = canonical_network(network_text)
    if not MTU_MIN <= mtu <= MTU_MAX:
        raise InvalidInput(f"Choose an MTU from {MTU_MIN} to {MTU_MAX} bytes; 1420 is usual.", field="mtu")
    lock_account()
    row = network()
    if found := inside(wanted, Origin.objects.values_list("address", flat=True)):
        raise InvalidInput(f"{found[0]} is an origin of yours; choose a network without it.", field="network")
    places = Tunnel.objects.values_list("place", flat=True)
    if max(places, default=0) >= origins_max(wanted):
        raise InvalidInput(f"{wanted} is too small for your tunnels.", field="network")
    before = {"network": row.network, "mtu": row.mtu}
    row.network, row.mtu = wanted, mtu
    if changes := audit.changes(before, {"network": wanted, "mtu": mtu}):
        row.save()
        entry = audit.record(actor, audit.Action.TUNNEL_NETWORK_CHANGED, row, changes)
        revisions.bump(Server.objects.all(), cause=entry)
    return row
