"""Failover of domains: settings, decisions by `lumos_agent.failover`, and what follows from one.

Whoever decides holds the domain's row, so that one domain is decided about by one at a time; servers are locked after.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.tenancy import active_account_id, tenant_scope
from billing import entitlements
from domains import zone_following
from domains.failover_models import DnsProvider, Failover, FailoverDecision, FailoverMode, Publication
from domains.failover_parts import members_by_domain, rule_of
from domains.failover_weights import checked_weights, named_weights
from domains.models import Domain
from lumos.errors import Conflict, InvalidInput
from lumos_agent.failover import Decision, Health, Rule, addresses, decide, named
from notifications import causes
from servers import wake
from servers.health import health_of
from servers.models import Server, ServerVerdict

log = logging.getLogger(__name__)

DRILL_MINUTES_MAX = 60
KEPT = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class FailoverData:
    """What people decide about a domain's failover. `weights`: {server id: how often it is answered}."""

    mode: str = FailoverMode.ORDERED
    weights: Mapping[Any, int] = field(default_factory=dict)
    hold_down_seconds: int = 120
    gap_seconds: int = 60
    provider: DnsProvider | None = None
    ttl: int = 60


SETTINGS = tuple(FailoverData.__dataclass_fields__)


@transaction.atomic
def look(domain_id: Any, *, actor: User | None = None, follows: bool = True) -> Decision | None:
    """Decide about one domain now; looking twice changes nothing. None if it has no failover, or no addresses.

    Zones follow, unless the caller sees to that.
    """
    domain = Domain.objects.select_for_update(no_key=True).filter(pk=domain_id).first()
    row = None if domain is None else Failover.objects.filter(domain=domain).first()
    if domain is None or row is None:
        return None
    now = timezone.now()
    members = members_by_domain([domain.pk]).get(domain.pk, ())
    if not members:
        return None
    if row.drill_until is not None and row.drill_until <= now:
        row.drilled, row.drill_until = None, None
    health = health_of(member.server for member in members)
    rule = rule_of(row, domain.hostname, members)
    since = None if row.changed_at is None else (now - row.changed_at).total_seconds()
    decision = decide(rule, health, since)
    before = list(row.addresses)
    _write(row, domain, rule, decision, health, actor)
    if follows and before != row.addresses:
        cause = audit.record(actor, audit.Action.FAILOVER_DECIDED, domain, {"addresses": [before, row.addresses]})
        zone_following.follow(zone_following.zones_with(hostnames=[domain.hostname]), cause=cause)
    return decision


def _write(
    row: Failover, domain: Domain, rule: Rule, decision: Decision, health: Mapping[str, Health], actor: User | None
) -> None:
    now = timezone.now()
    names = {str(pk): name for pk, name in Server.objects.filter(assignments__domain=domain).values_list("pk", "name")}
    before = (list(row.answered), list(row.addresses))
    row.answered, row.addresses = list(decision.answered), list(addresses(rule, decision.answered, health))
    row.reason = named(decision.reason, names)
    waits = [now + timedelta(seconds=decision.wait_seconds)] if decision.wait_seconds is not None else []
    row.due_at = min([*waits, *([row.drill_until] if rule.drilled and row.drill_until else [])], default=None)
    if decision.cause != "none":
        row.changed_at = now
        entry = FailoverDecision.objects.create(
            domain=domain, cause=decision.cause, reason=row.reason, before=[names.get(s, s) for s in before[0]],
            answered=[names[server] for server in row.answered], addresses=row.addresses,
            evidence=_evidence(names), actor=actor,
        )  # fmt: skip
        log.info("failover_decided", extra={"domain": str(domain.pk), "cause": decision.cause})
        is_home = rule.mode == "all" or row.answered[:1] == [rule.members[0].server]
        causes.failover_decided(domain, entry, is_recovery=decision.cause == "returned" and is_home)
    if before[1] != row.addresses and row.provider_id is not None:
        row.publication, row.publish_at, row.publish_tries = Publication.DUE, now, 0
        _publish_on_commit(domain.pk)
    row.save()
    if before != (row.answered, row.addresses):
        wake.pages_on_commit(row.account_id, "servers")


def _evidence(names: Mapping[str, str]) -> dict[str, Any]:
    verdicts = ServerVerdict.objects.filter(server__in=list(names))
    return {
        str(v.server_id): {"name": names[str(v.server_id)], "state": v.state, "reasons": v.reasons} for v in verdicts
    }


def _publish_on_commit(domain_id: Any) -> None:
    from domains.tasks import publish_dns

    account_id = str(active_account_id())
    transaction.on_commit(lambda: publish_dns.apply_async((account_id, str(domain_id)), retry=False), robust=True)


@transaction.atomic
def look_at_servers(server_ids: Iterable[Any]) -> None:
    """Decide about every domain of shields whose verdict changed, and give the zones that name them new answers."""
    servers = list(Server.objects.filter(pk__in=list(server_ids)).order_by("pk"))
    if not servers:
        return
    rows = Failover.objects.filter(domain__assignments__server__in=servers)
    for domain_id in rows.order_by("domain_id").values_list("domain_id", flat=True).distinct():
        look(domain_id, follows=False)
    if concerned := zone_following.zones_with(servers=servers):
        cause = audit.record(None, audit.Action.SERVER_JUDGED, servers[0])
        zone_following.follow(concerned, cause=cause)


def look_after_commit(server_ids: Iterable[Any]) -> None:
    """Decide when the caller, who holds rows of servers, has committed: domains are locked before servers."""
    account_id, ids = active_account_id(), list(server_ids)

    def look_now() -> None:
        with tenant_scope(account_id):
            look_at_servers(ids)

    transaction.on_commit(look_now)


def look_at_domains_after_commit(domain_ids: Iterable[Any]) -> None:
    """Decide about domains when the caller, who takes a server from them, has committed."""
    account_id, ids = active_account_id(), list(domain_ids)

    def look_now() -> None:
        with tenant_scope(account_id):
            for domain_id in Failover.objects.filter(domain__in=ids).values_list("domain_id", flat=True):
                look(domain_id)

    transaction.on_commit(look_now)


def _described(row: Failover | None) -> dict[str, Any]:
    if row is None:
        return dict.fromkeys(SETTINGS)
    shown = {"provider": row.provider and row.provider.name, "weights": named_weights(row.weights)}
    return {name: getattr(row, name) for name in SETTINGS} | shown


def _checked(domain: Domain, data: FailoverData) -> None:
    if data.provider is None:
        return
    name, zone = domain.hostname.removeprefix("*."), data.provider.zone
    if domain.hostname == "*" or not (name == zone or name.endswith(f".{zone}")):
        raise InvalidInput(
            f"{domain.hostname} is not in the zone {zone} of {data.provider.name}; choose the provider of its zone.",
            field="provider",
        )


@transaction.atomic
def put_failover(*, domain_id: uuid.UUID, data: FailoverData, actor: User) -> Failover:
    """Let a domain fail over like this, from now on.

    Raises:
        LimitReached: the plan has no failover.
        InvalidInput: the provider serves another zone, or the weights do not fit.
    """
    entitlements.require_failover()
    domain = Domain.objects.select_for_update(no_key=True).get(pk=domain_id)
    _checked(domain, data)
    data = replace(data, weights=checked_weights(domain, data.mode, data.weights))
    row = Failover.objects.filter(domain=domain).first()
    before = _described(row)
    row = row or Failover(domain=domain)
    is_moved = row.provider_id != (data.provider.pk if data.provider else None)
    for name in SETTINGS:
        setattr(row, name, getattr(data, name))
    if is_moved:
        row.publication = Publication.DUE if data.provider else Publication.NONE
        row.published, row.publish_error, row.publish_tries = [], "", 0
        row.publish_at = timezone.now() if data.provider else None
    row.save()
    changed = audit.changes(before, _described(row))
    cause = audit.record(actor, audit.Action.FAILOVER_CHANGED, domain, changed)
    look(domain.pk, actor=actor, follows=False)
    if changed:
        zone_following.follow(zone_following.zones_with(hostnames=[domain.hostname]), cause=cause)
    if is_moved and data.provider:
        _publish_on_commit(domain.pk)
    row.refresh_from_db()
    return row


@transaction.atomic
def remove_failover(*, domain_id: uuid.UUID, actor: User) -> None:
    """Leave a domain's DNS to itself; records that were published stay as they are."""
    domain = Domain.objects.select_for_update(no_key=True).get(pk=domain_id)
    row = failover_of(domain)
    lost = {name: [value, None] for name, value in _described(row).items()}
    cause = audit.record(actor, audit.Action.FAILOVER_CHANGED, domain, lost)
    row.delete()
    zone_following.follow(zone_following.zones_with(hostnames=[domain.hostname]), cause=cause)


def failover_of(domain: Domain) -> Failover:
    """Return a domain's failover.

    Raises:
        Conflict: it has none.
    """
    row: Failover | None = Failover.objects.filter(domain=domain).select_related("provider", "preferred").first()
    if row is None:
        raise Conflict(f"{domain.hostname} has no failover; switch it on first.")
    return row


@transaction.atomic
def act(*, domain_id: uuid.UUID, action: str, actor: User, server: Server | None = None, minutes: int = 5) -> Failover:
    """Switch to a server (none: back to the order), hold, release, drill the answered (or given) server, or end that.

    Raises:
        Conflict: the domain has no failover.
        InvalidInput: the server does not carry the domain, or nobody could step in for a drill.
    """
    domain = Domain.objects.select_for_update(no_key=True).get(pk=domain_id)
    row = failover_of(domain)
    if server is not None and not domain.assignments.filter(server=server).exists():
        raise InvalidInput(
            f"{server.name} does not carry {domain.hostname}; choose one of its servers.", field="server"
        )
    before = _state(row)
    if action == "switch":
        row.preferred = server
    elif action in ("hold", "release"):
        row.is_held = action == "hold"
    elif action == "drill":
        _begin_drill(row, server, minutes)
    else:
        row.drilled, row.drill_until = None, None
    row.save()
    cause = audit.record(actor, audit.Action.FAILOVER_ACTED, domain, audit.changes(before, _state(row)))
    look(domain.pk, actor=actor, follows=False)
    zone_following.follow(zone_following.zones_with(hostnames=[domain.hostname]), cause=cause)
    row.refresh_from_db()
    return row


def _state(row: Failover) -> dict[str, Any]:
    return {
        "preferred": row.preferred and row.preferred.name,
        "is_held": row.is_held,
        "drilled": row.drilled and row.drilled.name,
    }


def _begin_drill(row: Failover, server: Server | None, minutes: int) -> None:
    if not 1 <= minutes <= DRILL_MINUTES_MAX:
        raise InvalidInput(f"A drill lasts 1 to {DRILL_MINUTES_MAX} minutes.", field="minutes")
    if len(members_by_domain([row.domain_id]).get(row.domain_id, ())) < 2:
        raise InvalidInput("A drill needs a second server with a public address.", field="server")
    row.drilled_id = server.pk if server is not None else uuid.UUID(row.answered[0])
    row.drill_until = timezone.now() + timedelta(minutes=minutes)


def due(now: datetime) -> list[tuple[Any, Any]]:
    """Return (account, domain) of all tenants that time alone may have decided about."""
    rows = Failover.unscoped.filter(due_at__lte=now).values_list("account_id", "domain_id")
    return list(rows)


def all_of_everybody() -> list[tuple[Any, Any]]:
    """Return (account, domain) of every failover, for the sweep that finds what was missed."""
    return list(Failover.unscoped.filter(domain__pk=F("domain_id")).values_list("account_id", "domain_id"))


def expire(now: datetime) -> None:
    """Forget old decisions, of all tenants."""
    FailoverDecision.unscoped.filter(created_at__lt=now - KEPT).delete()
