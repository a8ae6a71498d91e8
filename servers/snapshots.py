"""Rows -> Snapshot: pure, sorted, in a constant number of queries; equal rows give equal bytes."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import connection, transaction

from domains import traffic
from domains.acme import acme_part
from domains.cdn_networks import cdn_parts
from domains.failover_parts import failover_parts
from domains.models import CertificateSource, Domain, DomainServer, Origin, Rollout, RolloutState, UploadedCertificate
from domains.zone_parts import zone_parts
from lumos_agent.guard import Guard as GuardPart
from lumos_agent.schema import Domain as DomainPart
from lumos_agent.schema import Origin as OriginPart
from lumos_agent.schema import Policy as PolicyPart
from lumos_agent.schema import Script as ScriptPart
from lumos_agent.schema import Snapshot, Upload, digest_of
from servers.forward_parts import flood_part, forward_parts
from servers.models import Server, epoch
from servers.tunnel_parts import tunnels_part
from waf.compiler import guard_parts, is_under_attack, list_parts, policy_parts, script_parts


class Compiled(msgspec.Struct, frozen=True):
    """A snapshot with the revision that it is of."""

    epoch: str
    revision: int
    digest: str
    data: bytes
    domains: int
    allow_shrink: bool

    @classmethod
    def of(cls, server: Server, data: bytes, domains: int) -> "Compiled":
        """Put a server's revision and an encoded snapshot together."""
        return cls(
            epoch=epoch(),
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


def _with_rollouts(server: Server, parts: list[DomainPart]) -> list[DomainPart]:
    """Put the earlier part in where a staged change has not reached this server; lists and policy are of now."""
    rows = Rollout.objects.exclude(state=RolloutState.DONE).filter(domain__assignments__server=server)
    held = {str(r.domain_id): r for r in rows if r.state == RolloutState.STOPPED or r.first_id != server.pk}
    if not held:
        return parts
    hostnames = {part.hostname for part in parts}
    result = []
    for part in parts:
        if (row := held.get(part.id)) is not None:
            before = msgspec.convert(row.before, DomainPart)
            if before.hostname == part.hostname or before.hostname not in hostnames:
                part = msgspec.structs.replace(before, policy=part.policy, guard=part.guard, script=part.script)
        result.append(part)
    return sorted(result, key=lambda part: part.hostname)


def snapshot_of(server: Server) -> Snapshot:
    """Return what `server` should run."""
    domain_ids = DomainServer.objects.filter(server=server).values("domain_id")
    zones = zone_parts(server)
    domains = tuple(_with_rollouts(server, domain_parts(domain_ids)))
    return Snapshot(
        server_id=str(server.pk),
        acme=acme_part(server),
        domains=domains,
        lists=tuple(list_parts(domain_ids)),
        uploads=tuple(_upload_parts(server)),
        under_attack=is_under_attack(),
        tunnels=tunnels_part(server),
        zones=zones,
        failover=failover_parts() if zones else (),
        forwards=forward_parts(server),
        flood=flood_part(server),
        cdns=cdn_parts(domains),
    )


def _upload_parts(server: Server) -> list[Upload]:
    """Return what a server's domains bring themselves, by domain."""
    rows = UploadedCertificate.objects.filter(server=server, domain__certificate=CertificateSource.UPLOADED)
    rows = rows.filter(domain__assignments__server=server).order_by("domain_id")
    return [Upload(domain_id=str(r.domain_id), chain=r.chain, sealed_key=r.sealed_key) for r in rows]


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
    """Read revision and rows of one moment and return the encoded snapshot; None if the server is gone."""
    with one_moment():
        server = Server.objects.filter(pk=server_id).first()
        if server is None:
            return None
        snapshot = snapshot_of(server)
        return Compiled.of(server, snapshot.encode(), len(snapshot.domains))
