"""Carrying out the plan of an import through the services of every other change: all of it or nothing."""

from collections.abc import Mapping, Sequence

import msgspec
from django.db import transaction

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import active_account_id
from domains import traffic
from domains.config_account import (
    put_account,
    put_channels,
    put_lists,
    put_server,
    put_subscriptions,
    put_tunnels,
)
from domains.config_export import account_state
from domains.config_plan import DomainStep, Plan, ZoneStep, plan
from domains.config_states import DomainState, ZoneState
from domains.dnssec import switch_off, switch_on
from domains.failover import FailoverData, put_failover, remove_failover
from domains.failover_models import DnsProvider
from domains.models import Domain
from domains.services import OriginData, add_domain, change_domain, remove_domain
from domains.zone_models import Zone
from domains.zone_rules import RecordData
from domains.zones import add_zone, change_zone, remove_zone, replace_records
from lumos.errors import Conflict
from lumos_agent.document import ConfigDocument, ConfigFailover, ConfigOrigin
from lumos_agent.schema import Script
from servers import revisions
from servers.models import Server
from servers.services import remove_server
from waf.exclusions import put_policy
from waf.guards import canonical_guard, put_guard
from waf.scripts import put_script


def planned(document: ConfigDocument, *, prune: bool) -> Plan:
    """Return what `import_config` would do now; raises as `plan` does."""
    return plan(account_state(), document, prune=prune)


@transaction.atomic
def import_config(*, document: ConfigDocument, prune: bool, actor: User, expected: str | None = None) -> Plan:
    """Make the account as the canonical `document` says and return what was done. Each server gets one revision.

    `expected` is the digest of the plan that a person has agreed to.

    Raises:
        InvalidInput, LimitReached: as `plan`.
        Conflict: the plan is another one by now, or somebody adds the same hostname at this moment.
    """
    # The order of locks: account (imports and roll-backs), domains, servers.
    account = Account.objects.select_for_update(no_key=True).get(pk=active_account_id())
    list(Domain.objects.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    found = planned(document, prune=prune)
    if expected is not None and found.digest() != expected:
        raise Conflict("The configuration has changed since this plan was made; look at the new plan and confirm it.")
    if found.is_empty():
        return found
    counts = {f"{kind}d": [None, len(steps)] for kind, steps in found.shown().items() if steps}
    with revisions.together(audit.record(actor, audit.Action.CONFIG_IMPORTED, account, counts)):
        _carry_out(found, actor)
    return found


def _carry_out(found: Plan, actor: User) -> None:
    """Servers and tunnels come before the domains that name them and go after."""
    if found.account is not None:
        put_account(found.account, actor)
    put_tunnels(found.tunnels, actor, is_adding=True)
    for step in found.servers:
        if step.after is not None:
            put_server(step, actor)
    servers = {server.name: server for server in Server.objects.all()}
    for domain_step in found.domains:
        if domain_step.after is None:
            remove_domain(domain=Domain.objects.get(hostname=domain_step.name), actor=actor)
        else:
            put_domain(domain_step, servers=servers, actor=actor)
    for zone_step in found.zones:
        _put_zone(zone_step, servers, actor)
    for step in found.servers:
        if step.after is None:
            remove_server(server=servers[step.name], actor=actor)
    put_tunnels(found.tunnels, actor, is_adding=False)
    put_channels(found.channels, actor)


def _put_zone(step: ZoneStep, servers: Mapping[str, Server], actor: User) -> None:
    before, after = step.before or ZoneState(name=step.name), step.after
    if after is None:
        return remove_zone(zone=Zone.objects.get(name=step.name), actor=actor)
    named = [servers[name] for name in after.servers]
    if step.before is None:
        zone = add_zone(name=after.name, servers=named, actor=actor)
    else:
        zone = Zone.objects.get(name=step.name)
        if after.servers != before.servers:
            change_zone(zone_id=zone.pk, servers=named, actor=actor)
    if after.records != before.records:
        records = [
            RecordData(**msgspec.structs.asdict(r) | {"server": servers[r.server].pk if r.server else None})
            for r in after.records
        ]
        replace_records(zone_id=zone.pk, records=records, actor=actor)
    if after.dnssec != before.dnssec:
        sign = switch_on if after.dnssec else switch_off
        sign(zone_id=zone.pk, actor=actor)
    return None


def put_domain(step: DomainStep, *, servers: Mapping[str, Server], actor: User) -> Domain:
    """Create or change a domain; parts that are alike before and after are left alone."""
    before, after = step.before, step.after
    if after is None:
        raise ValueError("the step deletes the domain")
    if before is None:
        domain = add_domain(
            hostname=after.hostname,
            origins=_origin_data(after.origins),
            servers=[servers[name] for name in after.servers],
            traffic=after.traffic,
            certificate=after.certificate,
            rollout=after.rollout,
            actor=actor,
        )
        before = DomainState(hostname=after.hostname)
    else:
        domain = _changed(before, after, servers, actor)
    if after.policy != before.policy:
        put_policy(domain=domain, wanted=after.policy, actor=actor)
    if after.guard != before.guard:
        put_guard(domain=domain, wanted=canonical_guard(after.guard), actor=actor)
    if after.script != before.script:
        script = after.script
        part = Script(mode=script.mode, fails=script.fails, source=script.source)
        put_script(domain=domain, wanted=part, actor=actor)
    if after.lists != before.lists:
        put_lists(domain, after.lists, actor)
    put_subscriptions(domain, before.subscriptions, after.subscriptions, actor)
    if after.failover != before.failover:
        _put_failover(domain, after.failover, actor)
    return domain


def _put_failover(domain: Domain, wanted: ConfigFailover | None, actor: User) -> None:
    if wanted is None:
        remove_failover(domain_id=domain.pk, actor=actor)
        return
    values = msgspec.structs.asdict(wanted)
    servers = dict(Server.objects.filter(name__in=wanted.weights).values_list("name", "pk"))
    values["weights"] = {servers.get(name, name): weight for name, weight in wanted.weights.items()}
    provider = None
    if name := values.pop("provider"):
        provider = DnsProvider.objects.filter(name=name).first()
        if provider is None:
            raise Conflict(f"{domain.hostname} is published at “{name}”: add a DNS provider of that name first.")
    put_failover(domain_id=domain.pk, data=FailoverData(**values, provider=provider), actor=actor)


def _changed(before: DomainState, after: DomainState, servers: Mapping[str, Server], actor: User) -> Domain:
    domain: Domain = Domain.objects.get(hostname=after.hostname)
    return change_domain(
        domain_id=domain.pk,
        origins=None if after.origins == before.origins else _origin_data(after.origins),
        servers=None if after.servers == before.servers else [servers[name] for name in after.servers],
        traffic=None if after.traffic == before.traffic else traffic.portable(after.traffic, whole=True),
        certificate=None if after.certificate == before.certificate else after.certificate,
        rollout=None if after.rollout == before.rollout else after.rollout,
        actor=actor,
    )


def _origin_data(origins: Sequence[ConfigOrigin]) -> list[OriginData]:
    return [OriginData(**msgspec.structs.asdict(origin)) for origin in origins]
