"""How shields do: evidence is gathered from rows, judged by `lumos_agent.verdict`, and what changed is written down."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.tenancy import active_account_id
from lumos_agent import protocol, verdict
from lumos_agent.failover import Health
from servers import wake
from servers.gateway import PRESENCE_GAP
from servers.models import (
    GatewayPresence,
    ProbeRound,
    Server,
    ServerVerdict,
    ShieldState,
    Sight,
    VerdictChange,
)
from servers.peers import addresses_of

log = logging.getLogger(__name__)

ROUND_FRESH = timedelta(seconds=30)
GATEWAY_RETURN = timedelta(minutes=2)
KEPT = timedelta(days=30)
_REASON_CHARACTERS = 300
_SERVES = {ShieldState.UP, ShieldState.DEGRADED}


class Lookout(NamedTuple):
    """What the control plane knows about itself: whether its own probes and the silence of agents mean anything."""

    is_probing: bool
    is_blind: bool
    hears_agents: bool


def lookout(now: datetime) -> Lookout:
    """Return how far the control plane may trust itself."""
    last = ProbeRound.objects.filter(pk=1).first()
    is_probing = last is not None and last.at > now - ROUND_FRESH
    presence = GatewayPresence.objects.filter(pk=1).first()
    return Lookout(
        is_probing=is_probing,
        is_blind=last is not None and is_probing and last.probed > 0 and last.reached == 0,
        hears_agents=presence is None
        or (presence.seen_at > now - PRESENCE_GAP and presence.since < now - GATEWAY_RETURN),
    )


@transaction.atomic
def record_probes(*, vantage_id: uuid.UUID, results: Sequence[protocol.ProbeResult]) -> list[uuid.UUID]:
    """Keep what a shield sees of others of its account; returns whom. It has no say about itself."""
    latest = {(result.server_id, result.address): result for result in results}
    targets = {str(s.pk): s for s in Server.objects.filter(pk__in={pk for pk, _ in latest}).exclude(pk=vantage_id)}
    account_id, now = active_account_id(), timezone.now()
    rows = [
        Sight(
            account_id=account_id,
            server=targets[pk],
            vantage_id=vantage_id,
            address=address,
            is_ok=result.is_ok,
            reason=result.reason.replace("\0", "")[:_REASON_CHARACTERS],  # PostgreSQL's text cannot hold NUL
            seconds=result.seconds,
            since=now,
        )
        for (pk, address), result in sorted(latest.items())
        if pk in targets and address in addresses_of(targets[pk])
    ]
    if rows:
        Sight.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["server", "vantage", "address"],
            update_fields=["is_ok", "reason", "seconds", "since"],
        )
    return list({row.server_id for row in rows})


def _evidence(servers: Sequence[Server], now: datetime) -> dict[Any, verdict.Evidence]:
    own = lookout(now)
    is_heard = Q(vantage__lease_until__gt=now) | (Q(vantage=None) if own.is_probing else Q(pk=None))
    sights: defaultdict[Any, list[verdict.Sight]] = defaultdict(list)
    current = {server.pk: addresses_of(server) for server in servers}
    for row in Sight.objects.filter(is_heard, server__in=servers, is_ok__isnull=False):
        if row.address in current[row.server_id]:
            vantage = verdict.CONTROL if row.vantage_id is None else str(row.vantage_id)
            seen = verdict.Sight(
                vantage=vantage, address=row.address, is_ok=row.is_ok, reason=row.reason, seconds=row.seconds
            )
            sights[row.server_id].append(seen)
    blind = _blind_neighbours() | ({verdict.CONTROL} if own.is_blind else set())
    return {
        server.pk: verdict.Evidence(
            agent_age_seconds=_age(server, now, hears_agents=own.hears_agents),
            haproxy_runs=server.haproxy_running,
            sights=tuple(sights[server.pk]),
            blind=frozenset(blind),
        )
        for server in servers
    }


def _blind_neighbours() -> set[str]:
    """Return the shields that reach none of several others: it is they who are cut off."""
    rows = Sight.objects.filter(vantage__isnull=False, is_ok__isnull=False)
    seen: defaultdict[Any, set[Any]] = defaultdict(set)
    reached = set()
    for vantage, server, is_ok in rows.values_list("vantage_id", "server_id", "is_ok"):
        seen[vantage].add(server)
        if is_ok:
            reached.add(vantage)
    return {str(vantage) for vantage, servers in seen.items() if len(servers) > 1 and vantage not in reached}


def _age(server: Server, now: datetime, *, hears_agents: bool) -> float | None:
    """Return how long ago an agent was heard; while Lumos itself was away, its silence says nothing."""
    if server.connected_at is None or server.last_seen_at is None:
        return None
    is_connected = server.lease_until is not None and server.lease_until > now
    return 0.0 if is_connected or not hears_agents else (now - server.last_seen_at).total_seconds()


@transaction.atomic
def look(server_ids: Iterable[Any]) -> list[uuid.UUID]:
    """Judge shields of the account anew; returns those that changed. Looking twice changes nothing."""
    now = timezone.now()
    servers = list(Server.objects.filter(pk__in=list(server_ids)).order_by("pk"))
    account_id = active_account_id()
    ServerVerdict.objects.bulk_create(
        [ServerVerdict(account_id=account_id, server=server, since=now) for server in servers], ignore_conflicts=True
    )
    rows = ServerVerdict.objects.select_for_update(of=("self",)).filter(server__in=servers).order_by("server_id")
    evidence = _evidence(servers, now)
    changed = [row.server_id for row in rows if _judged(row, verdict.verdict(evidence[row.server_id]), now)]
    if changed:
        wake.pages_on_commit(account_id, "servers")
    return changed


def _judged(row: ServerVerdict, found: verdict.Verdict, now: datetime) -> bool:
    """Write a verdict down; True if people or failover should know."""
    before = (row.state, sorted(row.down_addresses))
    is_news = before != (found.state, sorted(found.down_addresses))
    if not is_news and row.reasons == list(found.reasons):
        return False
    if row.state != found.state:
        row.since = now
        VerdictChange.objects.create(server_id=row.server_id, state=found.state, reasons=list(found.reasons))
        log.info("shield_judged", extra={"server_id": str(row.server_id), "state": found.state})
    serves = found.state in _SERVES
    row.serves_since = (row.serves_since or now) if serves else None
    row.state, row.reasons, row.down_addresses = found.state, list(found.reasons), sorted(found.down_addresses)
    row.save()
    return is_news


def health_of(server_ids: Iterable[Any]) -> dict[str, Health]:
    """Return how shields of the account do, as failover reads it."""
    now = timezone.now()
    return {
        str(row.server_id): Health(
            state=row.state,
            serves_seconds=(now - row.serves_since).total_seconds() if row.serves_since else 0.0,
            down_addresses=frozenset(row.down_addresses),
        )
        for row in ServerVerdict.objects.filter(server__in=list(server_ids))
    }


def sights_of(server: Server) -> QuerySet[Sight]:
    """Return what vantage points that are heard from see of a shield, Lumos first."""
    now = timezone.now()
    is_heard = Q(vantage=None) | Q(vantage__lease_until__gt=now)
    found: QuerySet[Sight] = server.sights.filter(is_heard, is_ok__isnull=False).select_related("vantage")
    return found.order_by("address", F("vantage__name").asc(nulls_first=True))


def unsettled() -> dict[uuid.UUID, list[uuid.UUID]]:
    """Return {account: servers} that time alone may change the verdict on."""
    now = timezone.now()
    rows = Server.unscoped.filter(connected_at__isnull=False, decommissioned_at=None).exclude(
        verdict__state=ShieldState.UP, lease_until__gt=now, haproxy_running=True
    )
    found: defaultdict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for pk, account_id in rows.values_list("pk", "account_id"):
        found[account_id].append(pk)
    return found


def expire(now: datetime) -> int:
    """Forget old changes of verdicts, of all tenants."""
    return int(VerdictChange.unscoped.filter(created_at__lt=now - KEPT).delete()[0])
