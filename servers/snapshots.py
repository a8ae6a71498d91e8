"""Rows -> Snapshot: pure, sorted, in a constant number of queries; equal rows give equal bytes."""

from collections import defaultdict
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction

from domains import traffic
from domains.models import Domain, DomainServer, Origin
from lumos_agent.schema import Acme, Snapshot, digest_of
from lumos_agent.schema import Domain as DomainPart
from lumos_agent.schema import Origin as OriginPart
from lumos_agent.schema import Policy as PolicyPart
from servers.models import Server, epoch
from waf.compiler import policy_parts


class Compiled(msgspec.Struct, frozen=True):
    """A snapshot with the revision that it is of."""

    epoch: str
    revision: int
    digest: str
    data: bytes
    domains: int
    allow_shrink: bool


def snapshot_of(server: Server) -> Snapshot:
    """Return what `server` should run."""
    domain_ids = DomainServer.objects.filter(server=server).values("domain_id")
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
    policies = policy_parts(domain_ids)
    return Snapshot(
        server_id=str(server.pk),
        acme=Acme(**settings.ACME) if settings.ACME else None,
        domains=tuple(
            DomainPart(
                id=str(pk),
                hostname=hostname,
                origins=tuple(origins[pk]),
                policy=policies.get(pk, PolicyPart()),
                traffic=traffic.parsed(stored),
                certificate=certificate,
            )
            for pk, hostname, stored, certificate in Domain.objects.filter(pk__in=domain_ids)
            .order_by("hostname")
            .values_list("pk", "hostname", "traffic", "certificate")
        ),
    )


def compile_snapshot(server_id: Any) -> Compiled | None:
    """Read revision and rows of one moment and return the encoded snapshot; None if the server is gone."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        server = Server.objects.filter(pk=server_id).first()
        if server is None:
            return None
        snapshot = snapshot_of(server)
        data = snapshot.encode()
        dropped = server.applied_domains - len(snapshot.domains)
        return Compiled(
            epoch=epoch(),
            revision=server.revision,
            digest=digest_of(data),
            data=data,
            domains=len(snapshot.domains),
            allow_shrink=dropped <= server.removed_domains,
        )
