"""Policy and list rows -> the WAF parts of a snapshot."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from lumos_agent.schema import ACCOUNT_WIDE, Listing
from lumos_agent.schema import Policy as PolicyPart
from waf.models import ListEntry, ListKind, Policy


def policy_parts(domain_ids: Any) -> dict[Any, PolicyPart]:
    """Return {domain id: policy} in one query."""
    rows = Policy.objects.filter(domain_id__in=domain_ids).values_list("domain_id", "mode", "level")
    return {domain_id: PolicyPart(mode=mode, level=level) for domain_id, mode, level in rows}


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
