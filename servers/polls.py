"""The HTTPS door for agents whose network refuses WebSockets: one request is a whole exchange of messages."""

import gzip
import logging
import uuid

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.tenancy import tenant_scope
from lumos_agent import protocol
from servers import reunion, sessions, steps
from servers.gateway import in_database_thread
from servers.models import ApplyState, Server, SnapshotRecord, epoch
from servers.revisions import Report

log = logging.getLogger(__name__)

RETRY_SECONDS = 5
COMPRESSED_FROM_BYTES = 4096


@csrf_exempt
@require_POST
async def poll(request: HttpRequest) -> HttpResponse:
    """Take the messages of one agent and answer with those for it."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    try:
        found = await in_database_thread(sessions.authenticate)(token)
        if found is None:
            return JsonResponse({"detail": "token unknown or rotated"}, status=401)
        server_id, account_id = found
        replies = await in_database_thread(_replies)(account_id, server_id, request.body)
    except msgspec.DecodeError as error:
        log.warning("agent_message_invalid", extra={"error": str(error)})
        return JsonResponse({"detail": str(error)[:200]}, status=400)
    except Exception:
        # A database outage must not look like a protocol error: the agent keeps what it could not deliver.
        log.exception("poll_failed")
        replies = [protocol.Retry(after_seconds=RETRY_SECONDS, message="the control plane cannot reach its database")]
    return _response(protocol.encode(replies), is_compressed="gzip" in request.headers.get("Accept-Encoding", ""))


def _response(body: bytes, *, is_compressed: bool) -> HttpResponse:
    if not is_compressed or len(body) < COMPRESSED_FROM_BYTES:
        return HttpResponse(body, content_type="application/json")
    headers = {"Content-Encoding": "gzip"}
    return HttpResponse(gzip.compress(body, 5), content_type="application/json", headers=headers)


def _replies(account_id: uuid.UUID, server_id: uuid.UUID, body: bytes) -> list[protocol.GatewayMessage]:
    """Answer an agent's poll, or root when it says how an errand went; runs in a database thread."""
    match protocol.poll_decoder.decode(body):
        case [protocol.Poll() as poll, protocol.Hello(protocol=protocol.PROTOCOL_VERSION) as hello, *others]:
            return _exchanged(account_id, server_id, poll, hello, others)
        case [protocol.ErrandDone() as done]:
            return sessions.answers(account_id, server_id, done)
    raise msgspec.DecodeError(f"a poll begins with poll and hello of protocol {protocol.PROTOCOL_VERSION}")


def _exchanged(
    account_id: uuid.UUID,
    server_id: uuid.UUID,
    poll: protocol.Poll,
    hello: protocol.Hello,
    others: list[protocol.AgentMessage],
) -> list[protocol.GatewayMessage]:
    """Do for one poll what a connection does over time."""
    (known_epoch,) = sessions.record_hellos(account_id, [sessions.Greeting(server_id, hello, poll.interval_seconds)])
    replies: list[protocol.GatewayMessage] = [protocol.Welcome(server_id=str(server_id), epoch=known_epoch)]
    named = poll.revision if poll.epoch == known_epoch else -1
    for message in others:
        if isinstance(message, protocol.Resend):
            named = -1
        elif isinstance(message, protocol.Applied | protocol.Failed):
            report = Report(server_id, message, _domains(account_id, server_id, message.revision))
            sessions.record_reports(account_id, [report])
        else:
            replies += sessions.answers(account_id, server_id, message)
    replies += _news(account_id, server_id, hello.digest, named)
    relayed, readiness = sessions.challenge_news(account_id, server_id)
    if relayed.entries or poll.holds_challenges:
        replies.append(relayed)
    if hello.facts.probe_port:
        replies.append(sessions.peers(account_id, server_id))
    (errand,) = sessions.wanted_errands(account_id, [server_id])
    if errand is not None:
        replies.append(errand)
    return replies + [protocol.ChallengeReady(token=token, waiting=n) for token, n in readiness.items()]


def _domains(account_id: uuid.UUID, server_id: uuid.UUID, revision: int) -> int | None:
    """Return how many domains the snapshot of a revision has, if that is known."""
    with tenant_scope(account_id):
        rows = SnapshotRecord.objects.filter(server_id=server_id, epoch=epoch(), revision=revision)
        return rows.values_list("domains", flat=True).first()


def _news(account_id: uuid.UUID, server_id: uuid.UUID, digest: str, named: int) -> list[protocol.GatewayMessage]:
    """Return what the agent must be told to reach the desired revision, unless it was named before."""
    with tenant_scope(account_id):
        row = Server.objects.filter(pk=server_id, decommissioned_at=None).first()
        if row is None or row.revision == named:
            return []
        if (found := reunion.found_on(row)) is not None and found.digest == digest:
            return []
        runs_it = row.apply_state == ApplyState.APPLIED and row.applied_revision == row.revision
        if runs_it and digest and digest == row.applied_digest:
            return [protocol.InSync(epoch=epoch(), revision=row.revision, digest=digest)]
    (step,) = steps.next_steps(account_id, [steps.Asked(server_id, named, digest)])
    if step is None:
        return []
    steps.keep_contents(account_id, [(server_id, step.compiled)])
    return [step.message]
