"""Verbs on servers."""

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from billing import entitlements
from domains import failover, zone_following
from lumos.errors import Conflict
from servers import revisions
from servers.enrolment import new_token
from servers.models import Server, Tunnel
from servers.peers import tell_neighbours
from servers.tunnel_ends import give_places, lock_account

EDITABLE = ("name", "region", "public_ipv4", "public_ipv6")


def _save_unique(server: Server) -> None:
    try:
        with transaction.atomic():
            server.save()
    except IntegrityError as error:
        raise Conflict(f"A server named “{server.name}” exists already; choose another name.", field="name") from error


@transaction.atomic
def add_server(
    *, name: str, actor: User, region: str = "", public_ipv4: str | None = None, public_ipv6: str | None = None
) -> tuple[Server, str]:
    """Add a shield; the second item is its token, which is shown once and never kept.

    Raises:
        LimitReached: the plan has no more servers.
        Conflict: the name is taken.
    """
    entitlements.require_room_for_server()
    token, columns = new_token()
    server = Server(name=name, region=region, public_ipv4=public_ipv4, public_ipv6=public_ipv6, **columns)
    _save_unique(server)
    if Tunnel.objects.exists():
        lock_account()
        give_places([server])
    audit.record(actor, audit.Action.SERVER_ADDED, server, {"name": [None, name]})
    return server, token


@transaction.atomic
def change_server(*, server: Server, actor: User, **values: str | None) -> Server:
    """Change name, region or public addresses; the addresses are in the answers of zones.

    Raises:
        Conflict: the name is taken, or a zone needs an address.
    """
    row: Server = Server.objects.select_for_update().get(pk=server.pk)
    before = {name: getattr(row, name) for name in EDITABLE}
    for name, value in values.items():
        setattr(row, name, value)
    changed = audit.changes(before, {name: getattr(row, name) for name in EDITABLE})
    if changed:
        _save_unique(row)
        cause = audit.record(actor, audit.Action.SERVER_CHANGED, row, changed)
        if {"public_ipv4", "public_ipv6"} & changed.keys():
            zone_following.refuse_without_address(row)
            zone_following.follow(zone_following.zones_with(servers=[row]), cause=cause)
            failover.look_after_commit([row.pk])
        tell_neighbours([row.pk])
    return row


@transaction.atomic
def remove_server(*, server: Server, actor: User) -> None:
    """Forget a server. Its domains stay; the shield goes on with its last configuration until it is uninstalled.

    Raises:
        Conflict: a domain or zone would be left without any server.
    """
    refuse_only_server(server)
    zone_following.refuse_only_server(server)
    forget_server(server, actor=actor)


def carried_alone(server: Server) -> list[str]:
    """Return the domains that no other server carries."""
    domains = server.domains.prefetch_related("assignments").order_by("hostname")
    return [domain.hostname for domain in domains if len(domain.assignments.all()) == 1]


def refuse_only_server(server: Server) -> None:
    """Raise if a domain would be left without a server.

    Raises:
        Conflict: it names such domains.
    """
    if alone := carried_alone(server):
        shown = ", ".join(alone[:5]) + ("…" if len(alone) > 5 else "")
        raise Conflict(f"Only this server carries {shown}. Assign another server or remove the domain first.")


def forget_server(server: Server, *, actor: User | None) -> None:
    """Delete the row, with all that hangs from it, in the caller's transaction."""
    cause = audit.record(actor, audit.Action.SERVER_REMOVED, server, {"name": [server.name, None]})
    revisions.disconnect(server)
    concerned = zone_following.zones_with(servers=[server])
    tell_neighbours([server.pk])
    server.delete()
    zone_following.follow(concerned, cause=cause)
