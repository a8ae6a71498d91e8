"""Going back: the rows of a server and its domains become what an earlier snapshot says.

A roll-back is a change like any other: it writes rows through the same services, gets a revision of its own and can be
rolled back itself. Notes of list entries are in no snapshot, so entries that come back come without. Uploaded
certificates are not set back: an older one is no better than the one that its owner uploaded last. Nor are tunnels,
whose keys two machines have agreed upon since; an origin at a tunnel that is gone is refused. The networks of CDNs are
those of today.
"""

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import active_account_id
from domains import traffic
from domains.models import Domain, DomainServer
from domains.services import OriginData, add_domain, change_domain
from lumos.errors import Conflict
from lumos_agent.schema import Domain as DomainPart
from lumos_agent.schema import Origin as OriginPart
from lumos_agent.schema import Snapshot
from servers import floods, history, revisions
from servers.diff import Pair, Site, pairs, server_changes
from servers.forward_parts import FLOOD_FIELDS
from servers.forwards import put_forwards
from servers.models import Server, SnapshotRecord
from servers.snapshots import snapshot_of
from waf.exclusions import put_policy
from waf.guards import put_guard
from waf.lists import replace_lists
from waf.scripts import put_script

SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
    """The revision that is wanted now, and how many domains differed."""

    revision: int
    domains: int


@transaction.atomic
def restore_snapshot(*, record: SnapshotRecord, actor: User) -> Restored:
    """Set origins, policy and lists of the domains of `record` back, and its server's domains with them.

    Domains that are gone come back; domains that the snapshot does not have leave this server, and this server only.
    A domain that other servers carry as well changes there too: it has one configuration.

    Raises:
        Conflict: a hostname now belongs to another domain, or the record cannot be read.
        InvalidInput: a value of the snapshot breaks a rule of today.
    """
    # One roll-back at a time per account; nobody else locks this row, so the order of locks stays free of cycles.
    Account.objects.select_for_update(no_key=True).get(pk=active_account_id())
    wanted = history.content(record)
    server = Server.objects.get(pk=record.server_id)
    _lock_domains(server, wanted)
    present = snapshot_of(server)
    steps = pairs(present, wanted)
    if not steps and not server_changes(present, wanted):
        return Restored(revision=server.revision, domains=0)
    _refuse_taken_hostnames(steps)
    changed = {"revision": [server.revision, record.revision]}
    entry = audit.record(actor, audit.Action.SERVER_RESTORED, server, changed)
    with revisions.together(entry):
        for before, after in steps:
            if after is not None:
                _set_back(server, before, after, actor)
            elif before is not None:
                _unassign(server, uuid.UUID(before.domain.id), actor)
        _set_flood_back(server, wanted, actor)
        put_forwards(server=server, wanted=wanted.forwards, actor=actor)
    server.refresh_from_db()
    return Restored(revision=server.revision, domains=len(steps))


def _set_flood_back(server: Server, wanted: Snapshot, actor: User) -> None:
    floods.put_flood(server=server, actor=actor, **{name: getattr(wanted.flood, name) for name in FLOOD_FIELDS})


def _lock_domains(server: Server, wanted: Snapshot) -> None:
    """Lock what is about to change in one order, before any server: changes of a domain lock in that order too."""
    ids = {uuid.UUID(part.id) for part in wanted.domains}
    ids.update(DomainServer.objects.filter(server=server).values_list("domain_id", flat=True))
    rows = Domain.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    list(rows.values_list("pk", flat=True))


def _refuse_taken_hostnames(steps: Sequence[Pair]) -> None:
    ids = {a.domain.hostname: uuid.UUID((b or a).domain.id) for b, a in steps if a is not None}
    rows = Domain.objects.filter(hostname__in=ids).order_by("hostname").values_list("hostname", "pk")
    taken = [hostname for hostname, pk in rows if ids[hostname] != pk]
    if taken:
        shown = ", ".join(taken[:SHOWN]) + ("…" if len(taken) > SHOWN else "")
        raise Conflict(
            f"Another domain of this account now uses {shown}. Remove or rename that domain, then roll back again."
        )


def _origin_data(origin: OriginPart) -> OriginData:
    return OriginData(**{field.name: getattr(origin, field.name) for field in dataclasses.fields(OriginData)})


def _settings(part: DomainPart) -> dict[str, Any]:
    """Return what the services of domains take."""
    return {
        "hostname": part.hostname,
        "origins": [_origin_data(origin) for origin in part.origins],
        "traffic": traffic.shown(part.traffic),
        "certificate": part.certificate,
    }


def _set_back(server: Server, before: Site | None, after: Site, actor: User) -> None:
    """Make one domain as `after` says; what `before`, its state on this server, has alike is left alone."""
    if before is None:
        domain = _brought_back(server, after.domain, actor)
    else:
        domain = _with_settings(before.domain, after.domain, actor)
    policy = after.domain.policy
    if before is None or before.domain.policy != policy:
        put_policy(domain=domain, wanted=policy, actor=actor)
    if before is None or before.domain.guard != after.domain.guard:
        put_guard(domain=domain, wanted=after.domain.guard, actor=actor)
    if before is None or before.domain.script != after.domain.script:
        put_script(domain=domain, wanted=after.domain.script, actor=actor)
    if before is None or (before.allow, before.deny) != (after.allow, after.deny):
        replace_lists(domain=domain, allow=after.allow, deny=after.deny, actor=actor)


def _with_settings(before: DomainPart, after: DomainPart, actor: User) -> Domain:
    """Set hostname, origins and traffic settings of a domain that this server carries."""
    domain_id = uuid.UUID(before.id)
    if _settings(before) == _settings(after):
        found: Domain = Domain.objects.get(pk=domain_id)
        return found
    return change_domain(domain_id=domain_id, actor=actor, **_settings(after))


def _brought_back(server: Server, after: DomainPart, actor: User) -> Domain:
    """Return a domain that this server does not carry: assigned again, or made again under its old id."""
    domain_id = uuid.UUID(after.id)
    if not Domain.objects.filter(pk=domain_id).exists():
        return add_domain(domain_id=domain_id, servers=[server], actor=actor, **_settings(after))
    servers = [*_carriers(domain_id), server]
    return change_domain(domain_id=domain_id, servers=servers, actor=actor, **_settings(after))


def _carriers(domain_id: uuid.UUID) -> list[Server]:
    """Return the servers of a domain in order."""
    rows = DomainServer.objects.filter(domain_id=domain_id).select_related("server").order_by("position")
    return [row.server for row in rows]


def _unassign(server: Server, domain_id: uuid.UUID, actor: User) -> None:
    change_domain(domain_id=domain_id, servers=[s for s in _carriers(domain_id) if s != server], actor=actor)
