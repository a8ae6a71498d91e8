"""Certificates as the shields report them, and challenges relayed between the shields of a domain (RFC 8555, 8.3)."""

import datetime
import uuid
from datetime import timedelta

from django.db import models, transaction
from django.utils import timezone

from domains.models import Certificate, Challenge, DomainServer
from lumos_agent import protocol
from notifications import causes
from servers import wake
from servers.models import Server

CHALLENGE_LIFETIME = timedelta(minutes=10)
PUBLISHED_MAX = 100


def _carries(server_id: uuid.UUID, domain_id: str) -> DomainServer | None:
    """Return the assignment of a domain to this server; an agent can speak of no other domain."""
    found: DomainServer | None = DomainServer.objects.filter(server_id=server_id, domain_id=domain_id).first()
    return found


@transaction.atomic
def record_status(*, server_id: uuid.UUID, status: protocol.CertificateStatus) -> None:
    """Keep what a shield says of one domain's certificate and tell open pages."""
    assignment = _carries(server_id, status.domain_id)
    if assignment is None:
        return
    until = datetime.datetime.fromtimestamp(status.not_after, datetime.UTC) if status.not_after else None
    before = Certificate.objects.filter(domain_id=assignment.domain_id, server_id=server_id).first()
    row, _ = Certificate.objects.update_or_create(
        domain_id=assignment.domain_id,
        server_id=server_id,
        defaults={
            "status": status.state,
            "reason": status.reason,
            "expires_at": until,
            "changed_at": timezone.now(),
        },
    )
    causes.certificate_changed(before, row)
    wake.pages_on_commit(assignment.account_id, "servers")


@transaction.atomic
def publish_challenge(*, server_id: uuid.UUID, published: protocol.ChallengePublish) -> bool:
    """Let the domain's other shields answer a challenge and wake them; False if there is nobody to tell."""
    assignment = _carries(server_id, published.domain_id)
    mine = Challenge.objects.filter(server_id=server_id)
    if assignment is None or mine.filter(expires_at__gt=timezone.now()).count() >= PUBLISHED_MAX:
        return False
    servers = DomainServer.objects.filter(domain_id=assignment.domain_id).values_list("server_id", flat=True)
    if len(servers) == 1:
        return False
    mine.update_or_create(
        token=published.token,
        server_id=server_id,
        defaults={
            "domain_id": assignment.domain_id,
            "key_authorization": published.key_authorization,
            "expires_at": timezone.now() + CHALLENGE_LIFETIME,
        },
    )
    wake.gateways_on_commit("challenges", servers)
    return True


@transaction.atomic
def withdraw_challenges(*, server_id: uuid.UUID, tokens: tuple[str, ...]) -> None:
    """Forget challenges that this shield published; wakes those that answer them."""
    over = Challenge.objects.filter(server_id=server_id, token__in=tokens)
    domains = set(over.values_list("domain_id", flat=True))
    over.delete()
    others = DomainServer.objects.filter(domain_id__in=domains).exclude(server_id=server_id)
    wake.gateways_on_commit("challenges", others.values_list("server_id", flat=True))


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
    return live.filter(domain_id__in=domains).exclude(server_id=server_id)


def relayed_challenges(server_id: uuid.UUID) -> dict[str, str]:
    """Return {token: key authorization} that this server should answer for others."""
    rows = _relayed(server_id).order_by("-created_at").values_list("token", "key_authorization")
    return dict(rows[: protocol.CHALLENGES_MAX])


def readiness(server_id: uuid.UUID) -> dict[str, int]:
    """Return {token: how many connected shields of its domain do not answer it yet} of this server's challenges."""
    now = timezone.now()
    waiting = {}
    for challenge in Challenge.objects.filter(server_id=server_id, expires_at__gt=now):
        others = DomainServer.objects.filter(domain_id=challenge.domain_id, server__lease_until__gt=now)
        missing = others.exclude(server_id=server_id).exclude(server_id__in=challenge.holders.values("pk"))
        waiting[challenge.token] = missing.count()
    return waiting
