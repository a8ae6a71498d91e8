"""The shields' ends of tunnels: a place for every server, its keys, and what it reports."""

import datetime
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import active_account_id
from lumos.errors import Conflict, LimitReached
from lumos_agent import protocol
from lumos_agent.tunnel import ALIVE_SECONDS, SUFFIX
from servers import revisions, wake
from servers.models import Server
from servers.tunnel_addresses import SHIELDS_MAX, first_free
from servers.tunnel_models import Tunnel, TunnelShield, TunnelState


def lock_account() -> None:
    """Let one change of places and keys follow the other: the first lock of such a change."""
    Account.objects.select_for_update(no_key=True).get(pk=active_account_id())


def give_places(servers: Iterable[Server]) -> None:
    """Give each of `servers` an end, in the caller's transaction, which has locked the account.

    Raises:
        LimitReached: the network has no subnet left.
    """
    taken = set(TunnelShield.objects.values_list("place", flat=True))
    for server in servers:
        if TunnelShield.objects.filter(server=server).exists():
            continue
        if (place := first_free(taken)) >= SHIELDS_MAX:
            raise LimitReached(f"Tunnels connect at most {SHIELDS_MAX} servers. Remove a server, or all tunnels.")
        TunnelShield.objects.create(server=server, place=place)
        taken.add(place)


@transaction.atomic
def rotate_shield_key(*, end: TunnelShield, actor: User) -> None:
    """Let a shield make another key; the one that it has ends when no origin uses it any more.

    Raises:
        Conflict: a change is under way, or the shield has not reported its key yet.
    """
    row = TunnelShield.objects.select_for_update().get(pk=end.pk)
    if row.rotation_began_at is not None:
        raise Conflict("This shield changes its key already; wait until its origins have followed.")
    if not row.public_key:
        raise Conflict("This shield has not reported a key yet; is its agent connected?")
    row.rotation_began_at = timezone.now()
    row.save()
    _changed(row, actor, {"key": [row.key_number, row.key_number + 1]})


@transaction.atomic
def end_shield_rotation(*, end: TunnelShield, actor: User) -> None:
    """End a shield's old key now; origins that still use it are cut off until they get the new one.

    Raises:
        Conflict: there is no change of keys, or the new key is not there yet.
    """
    row = TunnelShield.objects.select_for_update().get(pk=end.pk)
    if row.rotation_began_at is None or not row.next_public_key:
        raise Conflict("There is no old key to end here.")
    _finish(row)
    _changed(row, actor, {"old key": [row.key_number - 1, None]})


def _finish(row: TunnelShield) -> None:
    row.key_number, row.public_key = row.key_number + 1, row.next_public_key
    row.next_public_key, row.rotation_began_at = "", None
    row.save()


def _changed(row: TunnelShield, actor: User | None, changes: Mapping[str, list[Any]]) -> None:
    entry = audit.record(actor, audit.Action.TUNNEL_SHIELD_CHANGED, row.server, changes)
    revisions.bump([row.server], cause=entry)


@transaction.atomic
def record_report(*, server_id: uuid.UUID, report: protocol.TunnelReport) -> None:
    """Keep a shield's keys and what it says of its tunnels; end changes of keys that everybody has followed."""
    end = TunnelShield.objects.select_for_update().filter(server_id=server_id).select_related("server").first()
    if end is None:
        return
    keys = {key.number: key.public_key for key in report.keys}
    end.public_key = keys.get(end.key_number, end.public_key)
    if end.rotation_began_at is not None:
        end.next_public_key = keys.get(end.key_number + 1, end.next_public_key)
    end.save()
    _record_states(end, report)
    if end.next_public_key and not waiting_for(end):
        _finish(end)
        _changed(end, None, {"old key": [end.key_number - 1, None]})
    for tunnel in Tunnel.objects.select_for_update().exclude(next_public_key="").order_by("pk"):
        _follow_origin(tunnel)
    wake.pages_on_commit(end.account_id, "servers")


def _record_states(end: TunnelShield, report: protocol.TunnelReport) -> None:
    latest = {state.tunnel_id: state for state in report.states}
    now, account_id = timezone.now(), active_account_id()
    rows = [
        TunnelState(
            account_id=account_id,
            tunnel_id=pk,
            server_id=end.server_id,
            key_number=latest[str(pk)].number,
            public_key=latest[str(pk)].public_key,
            handshake_at=_moment(latest[str(pk)].handshake_at),
            received_bytes=latest[str(pk)].received_bytes,
            sent_bytes=latest[str(pk)].sent_bytes,
            told_at=now,
        )
        for pk in Tunnel.objects.filter(pk__in=latest).order_by("pk").values_list("pk", flat=True)
    ]
    TunnelState.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["tunnel", "server"],
        update_fields=["key_number", "public_key", "handshake_at", "received_bytes", "sent_bytes", "told_at"],
    )


def _moment(seconds: float) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC) if seconds else None


def alive_since() -> datetime.datetime:
    """Return since when a tunnel must have shaken hands to carry packets now."""
    return timezone.now() - datetime.timedelta(seconds=ALIVE_SECONDS)


def alive() -> Q:
    """Return the condition under which the tunnel of a `TunnelState` carries packets."""
    return Q(handshake_at__gte=alive_since())


def problems(addresses: Iterable[str]) -> list[tuple[str, str]]:
    """Return (address, what is wrong) of those origins' addresses that are tunnels without a way to the origin."""
    names = [address.removesuffix(SUFFIX) for address in addresses if address.endswith(SUFFIX)]
    found: list[tuple[str, str]] = []
    for tunnel in Tunnel.objects.filter(name__in=names).prefetch_related("states__server"):
        if not tunnel.public_key:
            found.append(
                (tunnel.hostname, "Its tunnel waits for the origin to join; no request is sent there until then.")
            )
        found += [(tunnel.hostname, state.problem) for state in tunnel.states.all() if state.problem]
    return found


def waiting_for(end: TunnelShield) -> list[str]:
    """Return the names of origins that still talk to the shield by its old key."""
    rows = TunnelState.objects.filter(alive(), server_id=end.server_id, key_number__lte=end.key_number)
    return list(rows.order_by("tunnel__name").values_list("tunnel__name", flat=True))


def _follow_origin(tunnel: Tunnel) -> None:
    """Forget an origin's old key when it has shaken hands by the new one, and by the old one nowhere."""
    states = TunnelState.objects.filter(alive(), tunnel=tunnel)
    new = states.filter(public_key=F("tunnel__next_public_key"))
    if not new.exists() or states.exclude(pk__in=new).exists():
        return
    tunnel.public_key, tunnel.next_public_key = tunnel.next_public_key, ""
    tunnel.save()
    entry = audit.record(None, audit.Action.TUNNEL_KEY_CHANGED, tunnel, {"old key": ["in service", None]})
    revisions.bump(Server.objects.all(), cause=entry)
