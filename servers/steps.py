"""What agents must be told to reach the desired revisions, of many servers of an account at once.

Like `servers/sessions.py`: plain functions that run in a database thread.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.db import transaction

from accounts.tenancy import tenant_scope
from lumos_agent import protocol
from servers import history, increments, reunion, revisions
from servers.locks import locked_servers
from servers.models import ApplyState, Server
from servers.snapshots import Compiled, compile_snapshots


class Asked(NamedTuple):
    """What an agent was told, the digest of what it runs, and what it was sent last, if that is known."""

    server_id: uuid.UUID
    sent_revision: int
    agent_digest: str
    base: increments.Base | None = None


class Step(NamedTuple):
    """What the agent must be told to reach the desired revision, and what a later patch may refer to."""

    message: protocol.InSync | protocol.Config | protocol.Patch | protocol.SnapshotWanted
    compiled: Compiled
    base: increments.Base | None


def next_steps(account_id: uuid.UUID, asked: Sequence[Asked]) -> list[Step | None]:
    """Return what each agent must be told; None if it was told (or the server is gone)."""
    with tenant_scope(account_id):
        rows = Server.objects.filter(pk__in=[one.server_id for one in asked], decommissioned_at=None)
        wanted = dict(rows.values_list("pk", "revision"))
        stale = {
            place: one
            for place, one in enumerate(asked)
            if wanted.get(one.server_id, one.sent_revision) != one.sent_revision
        }
        told = _allowed(stale, steps) if (steps := _compiled_steps(stale)) else {}
    return [told.get(place) for place in range(len(asked))]


def _compiled_steps(asked: Mapping[int, Asked]) -> dict[int, Step]:
    patched = {place: _patched(one.server_id, one.base) for place, one in asked.items() if one.base}
    steps = {place: step for place, step in patched.items() if step}
    rest = {place: one for place, one in asked.items() if place not in steps}
    whole = compile_snapshots(one.server_id for one in rest.values())
    found = {p: _whole(whole[one.server_id], one.agent_digest) for p, one in rest.items() if one.server_id in whole}
    return steps | found


@transaction.atomic
def _allowed(asked: Mapping[int, Asked], steps: Mapping[int, Step]) -> dict[int, Step]:
    """Return the steps without those that are held back, and note what is sent."""
    rows = locked_servers(asked[place].server_id for place in steps)
    told, sent = {}, []
    for place, step in steps.items():
        server_id, _, digest, _ = asked[place]
        if (row := rows.get(server_id)) is None:
            continue
        if reunion.is_parted(row, step.compiled, digest):
            told[place] = step._replace(message=protocol.SnapshotWanted(), base=None)
        elif _hold_back(row, step.compiled):
            history.keep([(server_id, step.compiled)])
        else:
            told[place] = step
            if not isinstance(step.message, protocol.InSync) and row.revision == step.compiled.revision:
                sent.append(server_id)
    if sent:
        Server.objects.filter(pk__in=sent).update(apply_state=ApplyState.APPLYING)
    return told


def _patched(server_id: uuid.UUID, base: increments.Base) -> Step | None:
    if (found := increments.compile_patch(server_id, base)) is None:
        return None
    compiled, patch, after = found
    return Step(patch if compiled.digest != base.digest else _in_sync(compiled), compiled, after)


def _whole(compiled: Compiled, agent_digest: str) -> Step:
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


@transaction.atomic
def keep_contents(account_id: uuid.UUID, sent: Sequence[tuple[uuid.UUID, Compiled]]) -> list[None]:
    """Put what was sent to servers into their history."""
    with tenant_scope(account_id):
        history.keep(sent)
    return [None] * len(sent)


def _hold_back(server: Server, compiled: Compiled) -> bool:
    """Refuse to send a snapshot that lost more than half of its domains without a person having removed them."""
    runs = server.applied_domains
    if compiled.allow_shrink or compiled.domains * 2 >= runs:
        return False
    revisions.record_failed(
        server_id=server.pk,
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
