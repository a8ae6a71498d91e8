"""What a gateway does for one agent, as plain functions that run in a database thread inside the tenant's scope."""

import logging
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
from django.db import transaction
from django.utils import timezone

from accounts.tenancy import tenant_scope
from domains import certificates, dnssec, failover, health, orders
from lumos_agent import protocol
from notifications import causes
from servers import errands, metrics, reunion, revisions, tunnel_ends, wake
from servers import health as shields
from servers.enrolment import server_by_token
from servers.gateway import LEASE
from servers.locks import locked_servers
from servers.models import Server, epoch
from servers.peers import peers_of, tell_neighbours
from servers.rows import write
from waf import bans

log = logging.getLogger(__name__)


def authenticate(token: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return (server id, account id) of a valid token."""
    server = server_by_token(token)
    return None if server is None else (server.pk, server.account_id)


class Greeting(NamedTuple):
    """What an agent says first; `poll_seconds` if it polls."""

    server_id: uuid.UUID
    hello: protocol.Hello
    poll_seconds: int | None = None


@transaction.atomic
def record_hellos(account_id: uuid.UUID, greetings: Sequence[Greeting]) -> list[str]:
    """Note connections and what runs on the shields; returns this database's epoch for each.

    An agent that polls is taken for connected until it has missed two polls.
    """
    now = timezone.now()
    with tenant_scope(account_id):
        rows = locked_servers(one.server_id for one in greetings)
        ports = dict(Server.objects.filter(pk__in=rows).values_list("pk", "facts__probe_port"))
        moved = {one.server_id for one in greetings if (ports.get(one.server_id) or 0) != one.hello.facts.probe_port}
        for server_id, hello, poll_seconds in greetings:
            if (row := rows.get(server_id)) is None:
                continue
            row.facts = msgspec.to_builtins(hello.facts)
            row.facts["poll_seconds"] = poll_seconds
            row.facts["clock_skew_seconds"] = round(hello.facts.clock - now.timestamp(), 1)
            row.connected_at = row.last_seen_at = now
            row.lease_until = now + LEASE + timedelta(seconds=2 * (poll_seconds or 0))
        write(rows.values(), ["facts", "connected_at", "last_seen_at", "lease_until"])
        tell_neighbours(moved)
        wake.pages_on_commit(account_id, "servers")
    return [epoch()] * len(greetings)


def record_reports(account_id: uuid.UUID, reports: Sequence[revisions.Report]) -> list[None]:
    """Note how applying went."""
    with tenant_scope(account_id):
        revisions.record_reports(reports)
    return [None] * len(reports)


def answers(
    account_id: uuid.UUID, server_id: uuid.UUID, message: protocol.AgentMessage
) -> list[protocol.GatewayMessage]:
    """Take a message that means the same at any point of a conversation; returns what to answer."""
    match message:
        case protocol.Heartbeat():
            record_heartbeats(account_id, [(server_id, message)])
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
        case protocol.Certificates() | protocol.ChallengesWithdrawn() | protocol.ChallengesHeld():
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
def record_heartbeats(account_id: uuid.UUID, beats: Sequence[tuple[uuid.UUID, protocol.Heartbeat]]) -> list[None]:
    """Keep the shields' health figures and tell open pages."""
    with tenant_scope(account_id):
        rows = locked_servers(server_id for server_id, _ in beats)
        for server_id, beat in beats:
            if (row := rows.get(server_id)) is not None:
                row.health, row.haproxy_running = msgspec.to_builtins(beat), beat.haproxy_running
        write(rows.values(), ["health", "haproxy_running"])
        wake.pages_on_commit(account_id, "servers")
    return [None] * len(beats)


def certificate_message(
    account_id: uuid.UUID,
    server_id: uuid.UUID,
    message: protocol.Certificates | protocol.ChallengesWithdrawn | protocol.ChallengesHeld,
) -> None:
    """Take what a shield says of certificates and challenges."""
    with tenant_scope(account_id):
        match message:
            case protocol.Certificates():
                certificates.record_statuses(server_id=server_id, statuses=message.statuses)
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


def wanted_errands(account_id: uuid.UUID, server_ids: Sequence[uuid.UUID]) -> list[protocol.Errand | None]:
    """Return what root is to do on each shield, if anything."""
    with tenant_scope(account_id):
        found = errands.errands_of(server_ids)
    return [found.get(server_id) for server_id in server_ids]


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
