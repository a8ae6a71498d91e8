"""Verbs on domains: each is one transaction of rows, audit entry and revision bump."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import AuditEntry, User
from domains import failover, rollouts, zone_following
from domains import traffic as traffic_settings
from domains.contradictions import refuse_contradictions
from domains.models import CertificateSource, Domain, DomainServer, Origin, RolloutMode
from domains.validators import canonical_origin, canonical_served
from lumos.errors import AppError, Conflict, InvalidInput
from servers import decommissioning, revisions, tunnels
from servers.models import Server
from waf.models import Policy

ORIGINS_MAX = 64
SERVERS_MAX = 100
STAGED = {"hostname", "origins", "traffic", "certificate"}


@dataclass(frozen=True, kw_only=True)
class OriginData:
    """An origin as a person states it; `address` in any accepted spelling."""

    address: str
    port: int
    weight: int = 100
    backup: bool = False
    tls: str = "off"
    enabled: bool = True


def canonical_origins(origins: Sequence[OriginData]) -> list[OriginData]:
    """Return origins with canonical addresses.

    Raises:
        InvalidInput: `field` is the place, such as origins[0].address.
    """
    if not origins:
        raise InvalidInput(
            "A domain needs at least one origin: the address and port of your web server.", field="origins"
        )
    if len(origins) > ORIGINS_MAX:
        raise InvalidInput(f"{len(origins)} origins; a domain has at most {ORIGINS_MAX}.", field="origins")
    result = []
    for index, origin in enumerate(origins):
        try:
            result.append(OriginData(**{**asdict(origin), "address": canonical_origin(origin.address)}))
        except AppError as error:
            raise InvalidInput(error.detail, field=f"origins[{index}].address") from error
    if len({(o.address, o.port) for o in result}) != len(result):
        raise InvalidInput("Two origins have the same address and port; remove one.", field="origins")
    if all(o.backup for o in result):
        raise InvalidInput("All origins are backups; at least one must take normal traffic.", field="origins")
    return result


def _described(domain: Domain) -> dict[str, Any]:
    origins = [
        f"{o.address}:{o.port} weight {o.weight} tls {o.tls}{' backup' if o.backup else ''}"
        f"{'' if o.enabled else ' off'}"
        for o in domain.origins.order_by("position")
    ]
    servers = [a.server.name for a in domain.assignments.select_related("server").order_by("position")]
    return {
        "hostname": domain.hostname,
        "origins": origins,
        "servers": servers,
        "traffic": domain.traffic or None,
        "certificate": domain.certificate,
        "rollout": domain.rollout,
    }


def _put_origins(domain: Domain, origins: Sequence[OriginData]) -> None:
    """Make the rows equal `origins`; an origin that stays keeps its row and so its name on the shield."""
    kept = {(row.address, row.port): row for row in domain.origins.all()}
    wanted = {(o.address, o.port) for o in origins}
    Origin.objects.filter(pk__in=[row.pk for key, row in kept.items() if key not in wanted]).delete()
    for position, origin in enumerate(origins):
        row = kept.get((origin.address, origin.port)) or Origin(domain=domain)
        for name, value in {**asdict(origin), "position": position}.items():
            setattr(row, name, value)
        row.save()


def _put_servers(domain: Domain, servers: Sequence[Server]) -> None:
    if len({server.pk for server in servers}) != len(servers):
        raise InvalidInput("A server is listed twice; name each once, the primary first.", field="servers")
    for server in servers:
        decommissioning.require_in_service(server)
    domain.assignments.all().delete()
    for position, server in enumerate(servers):
        DomainServer.objects.create(domain=domain, server=server, position=position)


def _named(text: str) -> str:
    try:
        return canonical_served(text)
    except AppError as error:
        raise InvalidInput(error.detail, field="hostname") from error


def _refuse_contradictions(domain: Domain) -> None:
    traffic = traffic_settings.parsed(domain.traffic)
    origins = domain.origins.order_by("position").values_list("tls", flat=True)
    refuse_contradictions(hostname=domain.hostname, certificate=domain.certificate, traffic=traffic, origins=origins)


def _refuse_unknown_tunnels(domain: Domain) -> None:
    tunnels.require_known({*domain.origins.values_list("address", flat=True), *tunnels.route_addresses(domain.traffic)})


def _save_unique(domain: Domain) -> None:
    try:
        with transaction.atomic():
            domain.save()
    except IntegrityError as error:
        raise Conflict(
            f"{domain.hostname} already exists in this account; edit that domain instead.", field="hostname"
        ) from error


@transaction.atomic
def add_domain(
    *,
    hostname: str,
    origins: Sequence[OriginData],
    servers: Sequence[Server],
    actor: User,
    traffic: Any = None,
    certificate: str = CertificateSource.ACME,
    rollout: str = RolloutMode.ALL,
    domain_id: uuid.UUID | None = None,
) -> Domain:
    """Protect one more hostname, with the default policy, on `servers` in order.

    `domain_id` is that of a domain that existed before and comes back.

    Raises:
        InvalidInput: a value breaks a rule.
        Conflict: the account has this hostname.
    """
    clean = canonical_origins(origins)
    domain = Domain(pk=domain_id or uuid.uuid4(), hostname=_named(hostname), certificate=certificate, rollout=rollout)
    domain.traffic = traffic_settings.merged({}, traffic or {})
    _save_unique(domain)
    _put_origins(domain, clean)
    _refuse_unknown_tunnels(domain)
    _refuse_contradictions(domain)
    _put_servers(domain, servers)
    Policy.objects.create(domain=domain)
    entry = audit.record(actor, audit.Action.DOMAIN_ADDED, domain, audit.changes({}, _described(domain)))
    revisions.bump(servers, cause=entry, touched=[domain.pk])
    zone_following.follow_domains(domain.hostname, cause=entry)
    return domain


@transaction.atomic
def change_domain(
    *,
    domain_id: uuid.UUID,
    actor: User,
    hostname: str | None = None,
    origins: Sequence[OriginData] | None = None,
    servers: Sequence[Server] | None = None,
    traffic: Any = None,
    certificate: str | None = None,
    rollout: str | None = None,
) -> Domain:
    """Change what is given; None leaves a part as it is, and so does `traffic` with settings that it does not name.

    Concurrent changes of one domain follow one another.

    Raises:
        InvalidInput, Conflict: as `add_domain`.
        Domain.DoesNotExist: it is gone.
    """
    # The order of locks is domain, then servers; no_key lets rows that point to the domain be written meanwhile.
    domain: Domain = Domain.objects.select_for_update(no_key=True).get(pk=domain_id)
    before, part_before = _described(domain), rollouts.part_before(domain)
    old_servers = {server.pk: server for server in domain.servers.all()}
    if hostname is not None:
        domain.hostname = _named(hostname)
    if traffic is not None:
        domain.traffic = traffic_settings.merged(domain.traffic, traffic)
    if certificate is not None:
        domain.certificate = certificate
    if rollout is not None:
        domain.rollout = rollout
    _save_unique(domain)
    if origins is not None:
        _put_origins(domain, canonical_origins(origins))
    _refuse_unknown_tunnels(domain)
    _refuse_contradictions(domain)
    if servers is not None:
        _put_servers(domain, servers)
    changed = audit.changes(before, _described(domain))
    if changed:
        entry = audit.record(actor, audit.Action.DOMAIN_CHANGED, domain, changed)
        _bump(domain, old_servers, entry)
        if {"hostname", "servers"} & changed.keys():
            _answer(domain, str(before["hostname"]), entry)
        if part_before is not None and changed.keys() & STAGED:
            rollouts.begin(domain, part_before)
    return domain


def _answer(domain: Domain, hostname_before: str, cause: AuditEntry) -> None:
    """Let names answer with the shields that the domain has now."""
    failover.look(domain.pk, actor=cause.actor, follows=False)
    zone_following.follow(zone_following.zones_with(hostnames=[hostname_before, domain.hostname]), cause=cause)


def _bump(domain: Domain, old_servers: Mapping[uuid.UUID, Server], cause: AuditEntry) -> None:
    """Raise the revisions of the servers that carry a changed domain, and of those that no longer do."""
    new_servers = {server.pk: server for server in domain.servers.all()}
    left = [server for pk, server in old_servers.items() if pk not in new_servers]
    revisions.bump(new_servers.values(), cause=cause, touched=[domain.pk])
    revisions.bump(left, cause=cause, removed_domains=1, touched=[domain.pk])


@transaction.atomic
def purge_cache(*, domain_id: uuid.UUID, actor: User) -> None:
    """Make the servers of a domain forget the answers that they keep.

    Raises:
        Domain.DoesNotExist: it is gone.
    """
    domain = Domain.objects.select_for_update().get(pk=domain_id)
    purges = traffic_settings.parsed(domain.traffic).cache_purges + 1
    change_domain(domain_id=domain_id, actor=actor, traffic={"cache_purges": purges})


@transaction.atomic
def remove_domain(*, domain: Domain, actor: User) -> None:
    """Stop protecting a hostname; its metrics and events go with it."""
    # Whoever counts for this domain meanwhile waits, and finds it gone; else a new row would point to nothing.
    list(Domain.objects.select_for_update().filter(pk=domain.pk))
    servers = list(domain.servers.all())
    lost = {name: [value, None] for name, value in _described(domain).items()}
    entry = audit.record(actor, audit.Action.DOMAIN_REMOVED, domain, lost)
    domain_id = domain.pk
    domain.delete()
    revisions.bump(servers, cause=entry, removed_domains=1, touched=[domain_id])
    zone_following.follow_domains(domain.hostname, cause=entry)
