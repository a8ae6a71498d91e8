"""Policy rows -> the WAF part of a snapshot."""

from collections import defaultdict
from typing import Any

from lumos_agent.schema import Policy as PolicyPart
from waf.models import ListEntry, ListKind, Policy


def policy_parts(domain_ids: Any) -> dict[Any, PolicyPart]:
    """Return {domain id: policy}; two queries, networks sorted."""
    lists: dict[str, defaultdict[Any, list[str]]] = {kind: defaultdict(list) for kind in ListKind.values}
    entries = ListEntry.objects.filter(domain_id__in=domain_ids).order_by("network")
    for domain_id, kind, network in entries.values_list("domain_id", "kind", "network"):
        lists[kind][domain_id].append(network)
    return {
        domain_id: PolicyPart(
            mode=mode,
            level=level,
            allow=tuple(lists[ListKind.ALLOW][domain_id]),
            deny=tuple(lists[ListKind.DENY][domain_id]),
        )
        for domain_id, mode, level in Policy.objects.filter(domain_id__in=domain_ids).values_list(
            "domain_id", "mode", "level"
        )
    }
