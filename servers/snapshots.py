"""Rows -> Snapshot: pure, sorted, in a constant number of queries; equal rows give equal bytes.

Servers of an account share nearly everything, so that several are compiled together in as many queries as one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import Count, F

from domains import traffic
from domains.acme import acme_of, authority
from domains.cdn_networks import cdn_parts
from domains.failover_parts import failover_parts
from domains.models import CertificateSource, Domain, DomainServer, Origin, Rollout, RolloutState, UploadedCertificate
from domains.zone_parts import zone_parts
from lumos_agent.flood import FloodLimits
from lumos_agent.guard import Guard as GuardPart
from lumos_agent.schema import ACCOUNT_WIDE, Listing, Snapshot, Upload, digest_of
from lumos_agent.schema import Domain as DomainPart
from lumos_agent.schema import Origin as OriginPart
from lumos_agent.schema import Policy as PolicyPart
from lumos_agent.schema import Script as ScriptPart
from servers.forward_parts import flood_parts, forward_parts
from servers.models import Server, epoch
from servers.tunnel_parts import tunnels_parts
from waf.compiler import guard_parts, is_under_attack, list_parts, policy_parts, script_parts

ASSIGNMENTS_AT_ONCE = 20_000


class Compiled(msgspec.Struct, frozen=True):
    """A snapshot with the revision that it is of."""

    epoch: str
    revision: int
    digest: str
    data: bytes
    domains: int
    allow_shrink: bool

    @classmethod
    def of(cls, server: Server, data: bytes, domains: int, known_epoch: str) -> "Compiled":
        """Put a server's revision and an encoded snapshot together."""
        return cls(
            epoch=known_epoch,
            revision=server.revision,
            digest=digest_of(data),
            data=data,
            domains=domains,
            allow_shrink=server.applied_domains - domains <= server.removed_domains,
        )


def domain_parts(domain_ids: Any) -> list[DomainPart]:
    """Return the parts of these domains (ids or a query of them) as their rows say, by hostname."""
    origins: defaultdict[Any, list[OriginPart]] = defaultdict(list)
    for row in Origin.objects.filter(domain_id__in=domain_ids).order_by("position", "pk"):
        origins[row.domain_id].append(
            OriginPart(
                id=str(row.pk),
                address=row.address,
                port=row.port,
                weight=row.weight,
                backup=row.backup,
                tls=row.tls,
                enabled=row.enabled,
            )
        )
    policies, guards, scripts = policy_parts(domain_ids), guard_parts(domain_ids), script_parts(domain_ids)
    rows = Domain.objects.filter(pk__in=domain_ids).order_by("hostname")
    return [
        DomainPart(
            id=str(pk),
            hostname=hostname,
            origins=tuple(origins[pk]),
            policy=policies.get(pk, PolicyPart()),
            guard=guards.get(pk, GuardPart()),
            script=scripts.get(pk, ScriptPart()),
            traffic=traffic.parsed(stored),
            certificate=certificate,
        )
        for pk, hostname, stored, certificate in rows.values_list("pk", "hostname", "traffic", "certificate")
    ]


def snapshot_of(server: Server) -> Snapshot:
    """Return what `server` should run."""
    return snapshots_of([server])[server.pk]


def snapshots_of(servers: Sequence[Server]) -> dict[Any, Snapshot]:
    """Return {server id: what it should run}."""
    assigned, domains = _domains_of(servers)
    lists, uploads = _lists_of(servers), _uploads_of(servers)
    authority_row, under_attack = authority(), is_under_attack()
    tunnels, zones = tunnels_parts(servers), zone_parts(servers)
    forwards, floods, cdns = forward_parts(servers), flood_parts(servers), cdn_parts(domains)
    failover = failover_parts() if zones else ()
    return {
        server.pk: Snapshot(
            server_id=str(server.pk),
            acme=acme_of(authority_row, server),
            domains=domains[server.pk],
            lists=tuple(
                part for scope in sorted({*assigned[server.pk], ACCOUNT_WIDE}) for part in lists.get(scope, ())
            ),
            uploads=tuple(uploads.get(server.pk, ())),
            under_attack=under_attack,
            tunnels=tunnels.get(server.pk),
            zones=tuple(zones.get(server.pk, ())),
            failover=failover if server.pk in zones else (),
            forwards=tuple(forwards.get(server.pk, ())),
            flood=floods.get(server.pk, FloodLimits()),
            cdns=cdns[server.pk],
        )
        for server in servers
    }


def _domains_of(servers: Sequence[Server]) -> tuple[dict[Any, set[str]], dict[Any, tuple[DomainPart, ...]]]:
    """Return {server id: ids of its domains} and {server id: their parts by hostname}."""
    rows = DomainServer.objects.filter(server__in=servers)
    parts = {part.id: part for part in domain_parts(rows.values("domain_id"))}
    places = {domain_id: place for place, domain_id in enumerate(parts)}  # the database knows how hostnames are sorted
    assigned: dict[Any, set[str]] = {server.pk: set() for server in servers}
    if len(servers) == 1:
        assigned[servers[0].pk].update(parts)
    else:
        for server_id, domain_id in rows.order_by().values_list("server_id", "domain_id"):
            assigned[server_id].add(str(domain_id))
    rollouts = list(Rollout.objects.exclude(state=RolloutState.DONE).filter(domain_id__in=rows.values("domain_id")))
    return assigned, {
        server.pk: _with_rollouts(
            server, rollouts, [parts[pk] for pk in sorted(assigned[server.pk], key=places.__getitem__)]
        )
        for server in servers
    }


def _with_rollouts(server: Server, rows: Iterable[Rollout], parts: list[DomainPart]) -> tuple[DomainPart, ...]:
    """Put the earlier part in where a staged change has not reached this server; lists and policy are of now."""
    held = {str(r.domain_id): r for r in rows if r.state == RolloutState.STOPPED or r.first_id != server.pk}
    if not any(part.id in held for part in parts):
        return tuple(parts)
    hostnames = {part.hostname for part in parts}
    result = []
    for part in parts:
        if (row := held.get(part.id)) is not None:
            before = msgspec.convert(row.before, DomainPart)
            if before.hostname == part.hostname or before.hostname not in hostnames:
                part = msgspec.structs.replace(before, policy=part.policy, guard=part.guard, script=part.script)
        result.append(part)
    return tuple(sorted(result, key=lambda part: part.hostname))


def _lists_of(servers: Sequence[Server]) -> Mapping[str, Sequence[Listing]]:
    """Return {scope: listings by bucket} of the domains of these servers, and of the account."""
    found: defaultdict[str, list[Listing]] = defaultdict(list)
    for part in list_parts(DomainServer.objects.filter(server__in=servers).values("domain_id")):
        found[part.scope].append(part)
    return found


def _uploads_of(servers: Sequence[Server]) -> Mapping[Any, Sequence[Upload]]:
    """Return {server id: what its domains bring themselves, by domain}."""
    rows = UploadedCertificate.objects.filter(server__in=servers, domain__certificate=CertificateSource.UPLOADED)
    found: defaultdict[Any, list[Upload]] = defaultdict(list)
    for r in rows.filter(domain__assignments__server=F("server")).order_by("domain_id"):
        found[r.server_id].append(Upload(domain_id=str(r.domain_id), chain=r.chain, sealed_key=r.sealed_key))
    return found


@contextmanager
def one_moment() -> Iterator[None]:
    """Read rows of one moment, unless the caller's transaction decides about that."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def compile_snapshot(server_id: Any) -> Compiled | None:
    """Return the encoded snapshot of a server; None if it is gone."""
    return next(iter(compile_snapshots([server_id]).values()), None)


def compile_snapshots(server_ids: Iterable[Any]) -> dict[Any, Compiled]:
    """Read revisions and rows of one moment; returns {server id: encoded snapshot} of the servers that exist."""
    wanted = set(server_ids)
    if not wanted:
        return {}
    found: dict[Any, Compiled] = {}
    with one_moment():
        known_epoch = epoch()
        for servers in _portions(list(Server.objects.filter(pk__in=wanted))):
            by_id = {server.pk: server for server in servers}
            for pk, snapshot in snapshots_of(servers).items():
                found[pk] = Compiled.of(by_id[pk], snapshot.encode(), len(snapshot.domains), known_epoch)
    return found


def _portions(servers: Sequence[Server]) -> Iterator[Sequence[Server]]:
    """Divide servers, so that rows of all their domains fit into memory at once."""
    if len(servers) < 2:
        yield from [servers] if servers else []
        return
    counted = DomainServer.objects.filter(server__in=servers).order_by().values_list("server_id")
    counts = dict(counted.annotate(Count("pk")))
    portion: list[Server] = []
    size = 0
    for server in servers:
        size += counts.get(server.pk, 0)
        if portion and size > ASSIGNMENTS_AT_ONCE:
            yield portion
            portion, size = [], counts.get(server.pk, 0)
        portion.append(server)
    yield portion
