"""Policy and list rows -> the WAF parts of a snapshot."""

import math
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import msgspec

from lumos_agent.guard import Guard as GuardPart
from lumos_agent.schema import ACCOUNT_WIDE, Listing
from lumos_agent.schema import CustomRule as CustomRulePart
from lumos_agent.schema import Exclusion as ExclusionPart
from lumos_agent.schema import Policy as PolicyPart
from lumos_agent.schema import Script as ScriptPart
from waf.models import AccountGuard, CustomRule, Exclusion, Guard, ListEntry, ListKind, Policy, Script


def policy_parts(domain_ids: Any) -> dict[Any, PolicyPart]:
    """Return {domain id: policy} in three queries."""
    excluded: defaultdict[Any, list[ExclusionPart]] = defaultdict(list)
    exclusions = Exclusion.objects.filter(domain_id__in=domain_ids).order_by()
    for domain_id, rule, path, parameter in sorted(exclusions.values_list("domain_id", "rule", "path", "parameter")):
        excluded[domain_id].append(ExclusionPart(rule=rule, path=path, parameter=parameter))
    custom: defaultdict[Any, list[CustomRulePart]] = defaultdict(list)
    for rule in CustomRule.objects.filter(domain_id__in=domain_ids, enabled=True):
        custom[rule.domain_id].append(custom_part(rule))
    rows = Policy.objects.filter(domain_id__in=domain_ids).values_list("domain_id", "mode", "level", "groups")
    return {
        domain_id: PolicyPart(
            mode=mode,
            level=level,
            groups=groups,
            exclusions=tuple(excluded.get(domain_id, ())),
            custom=tuple(custom.get(domain_id, ())),
        )
        for domain_id, mode, level, groups in rows
    }


def custom_part(rule: CustomRule) -> CustomRulePart:
    """Return what a shield knows of a custom rule."""
    expires = math.ceil(rule.expires_at.timestamp()) if rule.expires_at else 0
    return CustomRulePart(
        id=str(rule.pk),
        action=rule.action,  # type: ignore[arg-type]
        expression=rule.expression,
        expires=expires,
        requests=rule.requests,
        window_seconds=rule.window_seconds,  # type: ignore[arg-type]
    )


def list_parts(domain_ids: Any, *, buckets: Collection[int] | None = None, account_wide: bool = True) -> list[Listing]:
    """Return the listings of these domains (ids or a query of them) and the account's own, by scope and bucket.

    One query each. Entries that several sources brought are there once.
    """
    queries = [ListEntry.objects.filter(domain_id__in=domain_ids)]
    if account_wide:
        queries.append(ListEntry.objects.filter(domain=None))
    found: defaultdict[tuple[str, int], dict[str, set[str]]] = defaultdict(lambda: {k: set() for k in ListKind.values})
    for entries in queries:
        if buckets is not None:
            entries = entries.filter(bucket__in=buckets)
        for domain_id, bucket, kind, network in entries.order_by().values_list(
            "domain_id", "bucket", "kind", "network"
        ):
            found[str(domain_id or ACCOUNT_WIDE), bucket][kind].add(network)
    return [
        Listing(
            scope=scope,
            bucket=bucket,
            allow=tuple(sorted(lists[ListKind.ALLOW])),
            deny=tuple(sorted(lists[ListKind.DENY])),
        )
        for (scope, bucket), lists in sorted(found.items())
    ]


def guard_parts(domain_ids: Any) -> dict[Any, GuardPart]:
    """Return {domain id: guard} of the domains that have one, in one query."""
    rows = Guard.objects.filter(domain_id__in=domain_ids).values_list("domain_id", "settings")
    return {domain_id: msgspec.convert(settings, GuardPart) for domain_id, settings in rows}


def script_parts(domain_ids: Any) -> dict[Any, ScriptPart]:
    """Return {domain id: script} of the domains that have one, in one query."""
    rows = Script.objects.filter(domain_id__in=domain_ids).values_list("domain_id", "enabled", "fails", "source")
    return {
        domain_id: ScriptPart(mode="on" if enabled else "off", fails=fails, source=source)
        for domain_id, enabled, fails, source in rows
    }


def is_under_attack() -> bool:
    """Whether the account's switch is on: every visitor of all its domains is checked."""
    return bool(AccountGuard.objects.filter(under_attack=True).exists())
