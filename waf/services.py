"""Verbs on policies."""

from collections.abc import Mapping

from django.db import transaction

from accounts import audit
from accounts.models import User
from servers import revisions
from waf import rules
from waf.models import Policy


@transaction.atomic
def change_policy(
    *,
    policy: Policy,
    actor: User,
    mode: str | None = None,
    level: str | None = None,
    groups: Mapping[str, str] | None = None,
) -> Policy:
    """Change what is given and push it; `groups` are all groups that have a mode of their own.

    Raises:
        InvalidInput: there is no such group or mode.
    """
    row: Policy = Policy.objects.select_for_update().get(pk=policy.pk)
    before = {"mode": row.mode, "level": row.level, "groups": row.groups}
    row.mode, row.level = mode or row.mode, level or row.level
    if groups is not None:
        row.groups = rules.canonical_groups(groups)
    changed = audit.changes(before, {"mode": row.mode, "level": row.level, "groups": row.groups})
    if changed:
        row.save()
        cause = audit.record(actor, audit.Action.POLICY_CHANGED, row.domain, changed)
        revisions.bump(row.domain.servers.all(), cause=cause, touched=[row.domain_id])
    return row
