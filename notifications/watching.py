"""Which servers went and came: a sweep over presence leases and verdicts, with memory for those down lately."""

import uuid
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from notifications import causes, maintenance
from notifications.flapping import State, Told, step
from notifications.models import Watch
from servers.gateway import PRESENCE_GAP
from servers.models import GatewayPresence, Server, ShieldState

# A lease ends 45 s after the last sign of life; two minutes without any are "down".
GRACE = timedelta(seconds=75)
RETURN = timedelta(minutes=2)
BLIND_AT_MOST = timedelta(minutes=15)


def is_blind(now: datetime) -> bool:
    """Whether it was Lumos that was away: no gateway listens, or too short for agents to have returned."""
    presence = GatewayPresence.objects.first()
    if presence is None:
        return False
    if presence.seen_at < now - PRESENCE_GAP:
        return presence.seen_at > now - BLIND_AT_MOST
    return presence.since > now - RETURN


def accounts_to_look_at() -> set[uuid.UUID]:
    """Return the accounts in which a server went, came, or is still restless."""
    now = timezone.now()
    if is_blind(now):
        return set()
    settled = Q(is_down=True, told_down=True, is_flapping=False)
    known = Watch.unscoped.filter(settled).values("server")
    gone = Server.unscoped.filter(_is_gone(now)).exclude(pk__in=known)
    restless = Watch.unscoped.exclude(settled & _is_gone(now, "server__"))
    return {*gone.values_list("account_id", flat=True), *restless.values_list("account_id", flat=True)}


def _is_gone(now: datetime, prefix: str = "") -> Q:
    """Return the condition that a server is not heard from, or that those who probe it agree that it is down.

    Nobody misses a server that is being decommissioned.
    """
    silent = {f"{prefix}connected_at__isnull": False, f"{prefix}lease_until__lt": now - GRACE}
    is_down = Q(**silent) | Q(**{f"{prefix}verdict__state": ShieldState.DOWN})
    return is_down & Q(**{f"{prefix}decommissioned_at": None})


def look() -> None:
    """Look at the servers of the account in scope, but those in maintenance."""
    now = timezone.now()
    watched = Q(pk__in=Watch.objects.values("server"))
    for server in Server.objects.filter(watched | _is_gone(now)).select_related("verdict").order_by("pk"):
        if not maintenance.covers(server=server.pk):
            _look_at(server, now)


@transaction.atomic
def _look_at(server: Server, now: datetime) -> None:
    is_down = Server.objects.filter(_is_gone(now), pk=server.pk).exists()
    Watch.objects.get_or_create(server=server, defaults={"is_down": False, "since": now})
    row = Watch.objects.select_for_update().get(server=server)
    known = State(
        is_down=row.is_down, since=row.since, told_down=row.told_down, is_flapping=row.is_flapping,
        flips=tuple(row.flips),
    )  # fmt: skip
    state, told = step(known, is_down=is_down, now=now)
    if state.is_forgettable:
        row.delete()
    elif state != known:
        Watch.objects.filter(pk=row.pk).update(**asdict(state))
    if told is Told.RECOVERED:
        causes.server_recovered(server)
    elif told is not None:
        causes.server_down(server, is_flapping=told is Told.FLAPPING)
