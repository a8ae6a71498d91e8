"""What a change added to a large snapshot: only the pieces that it touched are read, encoded and sent.

Changes say what they touch (`revisions.bump`): a domain by its id, a listing as "scope/bucket". A change that says
nothing touches everything, and the snapshot is compiled and sent whole.
"""

from typing import Any, NamedTuple

import msgspec
from django.db.models import Exists, OuterRef, QuerySet
from msgspec import Struct

from domains.models import DomainServer, Rollout, RolloutState, UploadedCertificate
from lumos_agent import protocol
from lumos_agent.parts import Parts, encoded
from lumos_agent.schema import ACCOUNT_WIDE, Domain, Listing
from servers.models import Server, SnapshotRecord, epoch
from servers.snapshots import Compiled, domain_parts, one_moment
from waf.compiler import list_parts

PATCH_FROM_BYTES = 64 * 1024
CHANGES_MAX = 50


class Base(NamedTuple):
    """What an agent was sent last."""

    epoch: str
    revision: int
    digest: str
    parts: Parts


def base_of(compiled: Compiled) -> Base | None:
    """Return what later patches may refer to; a small snapshot is compiled and sent as fast as a patch."""
    if len(compiled.data) < PATCH_FROM_BYTES:
        return None
    return Base(compiled.epoch, compiled.revision, compiled.digest, Parts.split(compiled.data))


def touched_since(server: Server, base: Base) -> set[str] | None:
    """Return what the changes after `base` touched; None if that is everything or nobody knows any more."""
    rows = SnapshotRecord.objects.filter(server=server, epoch=base.epoch).order_by("-revision")
    found: set[str] = set()
    for revision, touched in rows.values_list("revision", "touched")[:CHANGES_MAX]:
        if revision <= base.revision:
            return found
        if touched is None:
            return None
        found.update(touched)
    return None


class _TrustedCdns(Struct, frozen=True):
    trusted_cdns: tuple[str, ...] = ()


class _Trusting(Struct, frozen=True):
    """What a domain's part says of CDNs."""

    traffic: _TrustedCdns = _TrustedCdns()


class _Change(NamedTuple):
    domains: list[Domain]
    lists: list[Listing]
    removed_domains: tuple[str, ...]


def compile_patch(server_id: Any, base: Base) -> tuple[Compiled, protocol.Patch, Base] | None:
    """Return the snapshot, the patch that leads to it from `base`, and the base of the next patch.

    None if the whole has to be compiled.
    """
    with one_moment():
        known_epoch = epoch()
        server = _ordinary().filter(pk=server_id).first()
        if server is None or base.parts.frame.uploads or base.epoch != known_epoch:
            return None
        if (touched := touched_since(server, base)) is None:
            return None
        change = _read(server, base.parts, touched)
        if _changes_frame(base.parts, change):
            return None
    domains, lists = tuple(map(encoded, change.domains)), tuple(map(encoded, change.lists))
    parts = base.parts.copy()
    parts.remove_domains(change.removed_domains)
    parts.put_encoded(domains, lists)
    compiled = Compiled.of(server, parts.join(), len(parts.domains), known_epoch)
    patch = protocol.Patch(
        epoch=compiled.epoch,
        revision=compiled.revision,
        digest=compiled.digest,
        base=base.digest,
        domains=domains,
        lists=lists,
        removed_domains=change.removed_domains,
        allow_shrink=compiled.allow_shrink,
    )
    return compiled, patch, Base(compiled.epoch, compiled.revision, compiled.digest, parts)


def _ordinary() -> QuerySet[Server]:
    """Return the servers without staged changes or uploaded certificates: a domain's part depends on its rows alone."""
    open_rollouts = Rollout.objects.exclude(state=RolloutState.DONE).filter(domain__assignments__server=OuterRef("pk"))
    uploads = UploadedCertificate.objects.filter(server=OuterRef("pk"))
    rows: QuerySet[Server] = Server.objects.exclude(Exists(open_rollouts)).exclude(Exists(uploads))
    return rows.defer("facts", "health")


def _changes_frame(parts: Parts, change: _Change) -> bool:
    """Whether a domain that changed trusts other CDNs than before: their networks stand in the frame."""
    after = {domain.id: domain.traffic.trusted_cdns for domain in change.domains}
    for domain_id in (*after, *change.removed_domains):
        _, raw = parts.domains.get(domain_id, ("", b"{}"))
        if msgspec.json.decode(raw, type=_Trusting).traffic.trusted_cdns != after.get(domain_id, ()):
            return True
    return False


def _read(server: Server, parts: Parts, touched: set[str]) -> _Change:
    """Read what was touched; a listing that is gone is read as an empty one."""
    keys = {(scope, int(bucket)) for scope, slash, bucket in (t.partition("/") for t in touched) if slash}
    domain_ids = {text for text in touched if "/" not in text}
    named = domain_ids | {scope for scope, _ in keys if scope != ACCOUNT_WIDE}
    rows = DomainServer.objects.filter(server=server, domain_id__in=named).values_list("domain_id", flat=True)
    assigned = set(map(str, rows))
    whole = domain_ids & assigned
    single = {key for key in keys if key[0] in assigned - whole or key[0] == ACCOUNT_WIDE}
    found = {(part.scope, part.bucket): part for part in list_parts(whole, account_wide=False)}
    if single:
        scopes = {scope for scope, _ in single}
        some = list_parts(
            scopes - {ACCOUNT_WIDE}, buckets={bucket for _, bucket in single}, account_wide=ACCOUNT_WIDE in scopes
        )
        found |= {(part.scope, part.bucket): part for part in some if (part.scope, part.bucket) in single}
    gone = {key for key in parts.lists if key in single or key[0] in whole} - found.keys()
    lists = [*found.values(), *(Listing(scope=scope, bucket=bucket) for scope, bucket in gone)]
    return _Change(domain_parts(whole), lists, tuple(sorted(domain_ids - assigned)))
