"""Certificates as the shields report them, and challenges relayed between the shields of a domain (RFC 8555, 8.3)."""

import datetime
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Length
from django.utils import timezone

from accounts.tenancy import active_account_id
from domains.models import Certificate, Challenge, DomainServer
from domains.zone_models import Zone, ZoneServer
from lumos_agent import protocol
from notifications import causes
from servers import wake
from servers.models import Server

CHALLENGE_LIFETIME = timedelta(minutes=10)
PUBLISHED_MAX = 100


def _carries(server_id: uuid.UUID, domain_id: str) -> DomainServer | None:
    """Return the assignment of a domain to this server; an agent can speak of no other domain."""
    found: DomainServer | None = (
        DomainServer.objects.select_related("domain").filter(server_id=server_id, domain_id=domain_id).first()
    )
    return found


def _zone_of(hostname: str) -> Zone | None:
    """Return the zone that answers challenges of a wildcard, the longest; None if there is none, or no wildcard."""
    if not hostname.startswith("*."):
        return None
    labels = hostname.split(".")[1:]
    names = [".".join(labels[at:]) for at in range(len(labels))]
    found: Zone | None = Zone.objects.filter(name__in=names).order_by(Length("name").desc()).first()
    return found


def _answering(domain_id: uuid.UUID, zone: Zone | None) -> set[uuid.UUID]:
    """Return the ids of the servers that may be asked for an answer: those of the domain, and of the zone."""
    servers = set(DomainServer.objects.filter(domain_id=domain_id).values_list("server_id", flat=True))
    if zone is not None:
        servers.update(ZoneServer.objects.filter(zone=zone).values_list("server_id", flat=True))
    return servers


@transaction.atomic
def record_statuses(*, server_id: uuid.UUID, statuses: Iterable[protocol.CertificateStatus]) -> None:
    """Keep what a shield says of its domains' certificates; if anything is new, tell open pages."""
    newest = {status.domain_id: status for status in statuses}
    carried = DomainServer.objects.filter(server_id=server_id, domain_id__in=newest)
    known = {row.domain_id: row for row in Certificate.objects.filter(server_id=server_id, domain_id__in=newest)}
    changed = []
    for assignment in carried.select_related("domain", "server"):
        before, now = known.get(assignment.domain_id), _row(assignment, newest[str(assignment.domain_id)])
        if before is None or _stated(before) != _stated(now):
            changed.append(now)
            causes.certificate_changed(before, now)
    if changed:
        fields = ["status", "reason", "expires_at", "changed_at"]
        unique = ["domain", "server"]
        Certificate.objects.bulk_create(changed, update_conflicts=True, unique_fields=unique, update_fields=fields)
        wake.pages_on_commit(active_account_id(), "servers")


def _row(assignment: DomainServer, status: protocol.CertificateStatus) -> Certificate:
    return Certificate(
        account_id=assignment.account_id,
        domain=assignment.domain,
        server=assignment.server,
        status=status.state,
        reason=status.reason.replace("\0", ""),  # PostgreSQL's text cannot hold NUL
        expires_at=datetime.datetime.fromtimestamp(status.not_after, datetime.UTC) if status.not_after else None,
        changed_at=timezone.now(),
    )


def _stated(row: Certificate) -> tuple[str, str, datetime.datetime | None]:
    return row.status, row.reason, row.expires_at


@transaction.atomic
def publish_challenge(*, server_id: uuid.UUID, published: protocol.ChallengePublish) -> bool:
    """Let the domain's other shields answer a challenge and wake them; False if there is nobody to tell."""
    assignment = _carries(server_id, published.domain_id)
    mine = Challenge.objects.filter(server_id=server_id)
    if assignment is None or mine.filter(expires_at__gt=timezone.now()).count() >= PUBLISHED_MAX:
        return False
    zone = _zone_of(assignment.domain.hostname)
    servers = _answering(assignment.domain_id, zone)
    if servers == {server_id}:
        return False
    mine.update_or_create(
        token=published.token,
        server_id=server_id,
        defaults={
            "domain_id": assignment.domain_id,
            "key_authorization": published.key_authorization,
            "zone": zone,
            "expires_at": timezone.now() + CHALLENGE_LIFETIME,
        },
    )
    wake.gateways_on_commit("challenges", servers)
    return True


@transaction.atomic
def withdraw_challenges(*, server_id: uuid.UUID, tokens: tuple[str, ...]) -> None:
    """Forget challenges that this shield published; wakes those that answer them."""
    over = Challenge.objects.filter(server_id=server_id, token__in=tokens)
    concerned = {(row.domain_id, row.zone) for row in over.select_related("zone")}
    over.delete()
    others = {pk for domain_id, zone in concerned for pk in _answering(domain_id, zone)} - {server_id}
    wake.gateways_on_commit("challenges", others)


@transaction.atomic
def record_held(*, server_id: uuid.UUID, tokens: tuple[str, ...]) -> None:
    """Note that this shield answers these challenges of others; wakes their publishers."""
    server = Server.objects.get(pk=server_id)
    held = list(_relayed(server_id).filter(token__in=tokens))
    for challenge in held:
        challenge.holders.add(server)
    wake.gateways_on_commit("challenges", {challenge.server_id for challenge in held})


def _relayed(server_id: uuid.UUID) -> models.QuerySet[Challenge]:
    domains = DomainServer.objects.filter(server_id=server_id).values("domain_id")
    live: models.QuerySet[Challenge] = Challenge.objects.filter(expires_at__gt=timezone.now())
    zones = ZoneServer.objects.filter(server_id=server_id).values("zone_id")
    return live.filter(Q(domain_id__in=domains) | Q(zone_id__in=zones)).exclude(server_id=server_id)


def relayed_challenges(server_id: uuid.UUID) -> protocol.Challenges:
    """Return the challenges that this server should answer for others."""
    rows = _relayed(server_id).select_related("domain").order_by("-created_at")[: protocol.CHALLENGES_MAX]
    return protocol.Challenges(
        entries={row.token: row.key_authorization for row in rows},
        dns={row.token: row.domain.hostname for row in rows if row.zone_id is not None},
    )


def readiness(server_id: uuid.UUID) -> dict[str, int]:
    """Return {token: how many connected shields of its domain do not answer it yet} of this server's challenges."""
    now = timezone.now()
    waiting = {}
    for challenge in Challenge.objects.filter(server_id=server_id, expires_at__gt=now).select_related("zone"):
        others = _answering(challenge.domain_id, challenge.zone) - {server_id}
        missing = Server.objects.filter(pk__in=others, lease_until__gt=now)
        waiting[challenge.token] = missing.exclude(pk__in=challenge.holders.values("pk")).count()
    return waiting
