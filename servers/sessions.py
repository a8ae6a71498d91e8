"""What a gateway does for one agent, as plain functions that run in a database thread inside the tenant's scope."""

import logging
import time
import uuid
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from django.utils import timezone

from accounts.tenancy import tenant_scope
from domains import certificates, dnssec, failover, health, orders
from lumos_agent import protocol
from notifications import causes
from servers import errands, history, increments, metrics, reunion, revisions, tunnel_ends, wake
from servers import health as shields
from servers.enrolment import server_by_token
from servers.gateway import LEASE
from servers.models import ApplyState, Server, epoch
from servers.peers import peers_of, tell_neighbours
from servers.snapshots import Compiled, compile_snapshot
from waf import bans

log = logging.getLogger(__name__)


def authenticate(token: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return (server id, account id) of a valid token."""
    server = server_by_token(token)
    return None if server is None else (server.pk, server.account_id)


@transaction.atomic
def record_hello(
    account_id: uuid.UUID, server_id: uuid.UUID, hello: protocol.Hello, poll_seconds: int | None = None
) -> str:
    """Note the connection and what runs on the shield; returns this database's epoch.

    An agent that polls every `poll_seconds` is taken for connected until it has missed two polls.
    """
    now = timezone.now()
    lease = LEASE if poll_seconds is None else LEASE + timedelta(seconds=2 * poll_seconds)
    facts: dict[str, Any] = msgspec.to_builtins(hello.facts)
    facts["poll_seconds"] = poll_seconds
    facts["clock_skew_seconds"] = round(hello.facts.clock - now.timestamp(), 1)
    with tenant_scope(account_id):
        known = Server.objects.filter(pk=server_id)
        ports = known.values_list("facts__probe_port", flat=True)
        is_new = ports.first() != hello.facts.probe_port
        known.update(facts=facts, connected_at=now, last_seen_at=now, lease_until=now + lease)
        if is_new:
            tell_neighbours([server_id])
        wake.pages_on_commit(account_id, "servers")
    return epoch()


class Step(NamedTuple):
    """What the agent must be told to reach the desired revision, and what a later patch may refer to."""

    message: protocol.InSync | protocol.Config | protocol.Patch | protocol.SnapshotWanted
    compiled: Compiled
    base: increments.Base | None


def next_step(
    account_id: uuid.UUID,
    server_id: uuid.UUID,
    sent_revision: int,
    agent_digest: str,
    base: increments.Base | None,
) -> Step | None:
    """Return what the agent must be told; None if it was told (or the server is gone).

    `base` is what it was sent last, if that is known.
    """
    with tenant_scope(account_id):
        wanted = Server.objects.filter(pk=server_id, decommissioned_at=None)
        revision = wanted.values_list("revision", flat=True).first()
        if revision is None or revision == sent_revision:
            return None
        step = (_patched(server_id, base) if base else None) or _whole(server_id, agent_digest)
        if step is None:
            return None
        if reunion.is_parted(server_id, step.compiled, agent_digest):
            return step._replace(message=protocol.SnapshotWanted(), base=None)
        if _hold_back(server_id, step.compiled):
            history.keep(server_id, step.compiled)
            return None
        if not isinstance(step.message, protocol.InSync):
            rows = Server.objects.filter(pk=server_id, revision=step.compiled.revision)
            rows.update(apply_state=ApplyState.APPLYING)
        return step


def _patched(server_id: uuid.UUID, base: increments.Base) -> Step | None:
    if (found := increments.compile_patch(server_id, base)) is None:
        return None
    compiled, patch, after = found
    return Step(patch if compiled.digest != base.digest else _in_sync(compiled), compiled, after)


def _whole(server_id: uuid.UUID, agent_digest: str) -> Step | None:
    if (compiled := compile_snapshot(server_id)) is None:
        return None
    if compiled.digest == agent_digest:
        return Step(_in_sync(compiled), compiled, increments.base_of(compiled))
    config = protocol.Config(
        epoch=compiled.epoch,
        revision=compiled.revision,
        digest=compiled.digest,
        snapshot=msgspec.Raw(compiled.data),
        allow_shrink=compiled.allow_shrink,
    )
    return Step(config, compiled, increments.base_of(compiled))


def _in_sync(compiled: Compiled) -> protocol.InSync:
    return protocol.InSync(epoch=compiled.epoch, revision=compiled.revision, digest=compiled.digest)


def keep_content(account_id: uuid.UUID, server_id: uuid.UUID, compiled: Compiled) -> None:
    """Put what was sent into the history."""
    with tenant_scope(account_id):
        history.keep(server_id, compiled)


def _hold_back(server_id: uuid.UUID, compiled: Compiled) -> bool:
    """Refuse to send a snapshot that lost more than half of its domains without a person having removed them."""
    if compiled.allow_shrink:
        return False
    runs = Server.objects.filter(pk=server_id).values_list("applied_domains", flat=True).get()
    if compiled.domains * 2 >= runs:
        return False
    revisions.record_failed(
        server_id=server_id,
        report=protocol.Failed(
            epoch=compiled.epoch,
            revision=compiled.revision,
            digest=compiled.digest,
            stage="guard",
            message=f"Held back: it has {compiled.domains} domains, the shield runs {runs}, nobody removed that many.",
            rolled_back=True,
        ),
    )
    return True


def record_report(
    account_id: uuid.UUID, server_id: uuid.UUID, report: protocol.Applied | protocol.Failed, domains: int | None
) -> None:
    """Note how applying went."""
    with tenant_scope(account_id):
        if isinstance(report, protocol.Applied):
            revisions.record_applied(server_id=server_id, report=report, domains=domains)
        else:
            revisions.record_failed(server_id=server_id, report=report)


def answers(
    account_id: uuid.UUID, server_id: uuid.UUID, message: protocol.AgentMessage
) -> list[protocol.GatewayMessage]:
    """Take a message that means the same at any point of a conversation; returns what to answer."""
    match message:
        case protocol.Heartbeat():
            record_heartbeat(account_id, server_id, message)
            return [protocol.HeartbeatAck(clock=time.time())]
        case protocol.Batch():
            count_batch(account_id, server_id, message)
            return [protocol.BatchAck(boot_id=message.boot_id, seq=message.seq)]
        case protocol.OrderWanted():
            with tenant_scope(account_id):
                return [orders.order_answer(server_id=server_id, domain_id=message.domain_id)]
        case protocol.ChallengePublish():
            if not publish_challenge(account_id, server_id, message):
                return [protocol.ChallengeReady(token=message.token, waiting=0)]
        case protocol.CertificateStatus() | protocol.ChallengesWithdrawn() | protocol.ChallengesHeld():
            certificate_message(account_id, server_id, message)
        case protocol.RunningSnapshot():
            with tenant_scope(account_id):
                reunion.record_running(server_id=server_id, running=message)
        case protocol.TunnelReport():
            with tenant_scope(account_id):
                tunnel_ends.record_report(server_id=server_id, report=message)
        case protocol.Origins() | protocol.Probes() | protocol.Incident() | protocol.ZoneKeys() | protocol.ErrandDone():
            record_news(account_id, server_id, message)
    return []


@transaction.atomic
def record_heartbeat(account_id: uuid.UUID, server_id: uuid.UUID, beat: protocol.Heartbeat) -> None:
    """Keep the shield's health figures and tell open pages."""
    with tenant_scope(account_id):
        figures = msgspec.to_builtins(beat)
        Server.objects.filter(pk=server_id).update(health=figures, haproxy_running=beat.haproxy_running)
        wake.pages_on_commit(account_id, "servers")


def certificate_message(
    account_id: uuid.UUID,
    server_id: uuid.UUID,
    message: protocol.CertificateStatus | protocol.ChallengesWithdrawn | protocol.ChallengesHeld,
) -> None:
    """Take what a shield says of certificates and challenges."""
    with tenant_scope(account_id):
        match message:
            case protocol.CertificateStatus():
                certificates.record_status(server_id=server_id, status=message)
            case protocol.ChallengesWithdrawn():
                certificates.withdraw_challenges(server_id=server_id, tokens=message.tokens)
            case protocol.ChallengesHeld():
                certificates.record_held(server_id=server_id, tokens=message.tokens)


@transaction.atomic
def record_news(
    account_id: uuid.UUID,
    server_id: uuid.UUID,
    message: protocol.Origins | protocol.Probes | protocol.Incident | protocol.ZoneKeys | protocol.ErrandDone,
) -> None:
    """Take what a shield noticed or did: origins, other shields, incidents, keys of zones, errands."""
    with tenant_scope(account_id):
        match message:
            case protocol.Origins():
                health.record_states(server_id=server_id, states=message.states)
            case protocol.Probes():
                seen = shields.record_probes(vantage_id=server_id, results=message.results)
                failover.look_at_servers(shields.look(seen))
            case protocol.ZoneKeys():
                dnssec.record_keys(server_id=server_id, report=message)
            case protocol.ErrandDone():
                errands.record_done(server_id=server_id, done=message)
            case protocol.Incident():
                log.warning("shield_incident", extra={"server_id": str(server_id), "kind": message.kind})
                if (server := Server.objects.filter(pk=server_id).first()) is not None:
                    causes.incident(server, message)


def peers(account_id: uuid.UUID, server_id: uuid.UUID) -> protocol.Peers:
    """Return whom a shield probes, and how it proves itself."""
    with tenant_scope(account_id):
        return peers_of(server_id)


def errand(account_id: uuid.UUID, server_id: uuid.UUID) -> protocol.Errand | None:
    """Return what root is to do on the shield, if anything."""
    with tenant_scope(account_id):
        return errands.errand_of(server_id)


def publish_challenge(account_id: uuid.UUID, server_id: uuid.UUID, message: protocol.ChallengePublish) -> bool:
    """Tell the domain's other shields of a challenge; False if there is nobody to tell."""
    with tenant_scope(account_id):
        return certificates.publish_challenge(server_id=server_id, published=message)


def challenge_news(account_id: uuid.UUID, server_id: uuid.UUID) -> tuple[protocol.Challenges, dict[str, int]]:
    """Return the challenges that this server should answer for others, and how far its own ones have come."""
    with tenant_scope(account_id):
        return certificates.relayed_challenges(server_id), certificates.readiness(server_id)


def count_batch(account_id: uuid.UUID, server_id: uuid.UUID, batch: protocol.Batch) -> None:
    """Count a batch once; the caller acknowledges when this has returned."""
    with tenant_scope(account_id):
        if metrics.ingest(server_id=server_id, batch=batch):
            bans.ban_offenders(batch.events, server_id=server_id)


@transaction.atomic
def record_goodbye(account_id: uuid.UUID, server_id: uuid.UUID) -> None:
    """End the presence lease."""
    with tenant_scope(account_id):
        Server.objects.filter(pk=server_id).update(lease_until=timezone.now())
        wake.pages_on_commit(account_id, "servers")
