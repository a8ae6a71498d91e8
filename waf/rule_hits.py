"""How often custom rules held: counted as batches arrive, before the cap on stored events."""

import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from waf.models import CustomRule, Event, RuleHits

DAYS = 30
_PREFIX = "rule:"


def count_hits(rows: Iterable[Event]) -> None:
    """Add the custom rules that events of one batch name, inside the caller's transaction."""
    today = timezone.now().date()
    found: Counter[tuple[Any, uuid.UUID, Any]] = Counter()
    for row in rows:
        day = min(max(row.time.date(), today - timedelta(days=DAYS)), today)
        found.update((uuid.UUID(str(row.domain_id)), rule, day) for rule in _rules_of(row))
    if not found:
        return
    rules = CustomRule.objects.filter(pk__in={rule for _, rule, _ in found}).values_list("domain_id", "pk")
    known = set(rules)
    for (domain_id, rule, day), hits in sorted(found.items(), key=str):
        if (domain_id, rule) in known:
            row, _ = RuleHits.objects.get_or_create(domain_id=domain_id, rule=rule, day=day)
            RuleHits.objects.filter(pk=row.pk).update(hits=F("hits") + hits)


def _rules_of(event: Event) -> Iterable[uuid.UUID]:
    for name in event.rules:
        if name.startswith(_PREFIX):
            try:
                yield uuid.UUID(name.removeprefix(_PREFIX))
            except ValueError:
                continue


def with_hits(rules: QuerySet[CustomRule]) -> QuerySet[CustomRule]:
    """Return rules with `hits_today` and `hits_30_days`, which are 0 for rules that let pass."""
    today = timezone.now().date()
    return rules.annotate(
        hits_today=_sum(day=today), hits_30_days=_sum(day__gt=today - timedelta(days=DAYS), day__lte=today)
    )


def _sum(**days: Any) -> Coalesce:
    rows = RuleHits.objects.filter(rule=OuterRef("pk"), domain=OuterRef("domain"), **days).order_by()
    total = rows.values("rule").annotate(total=Sum("hits")).values("total")
    return Coalesce(Subquery(total), 0, output_field=BigIntegerField())


def expire_hits(now: datetime) -> None:
    """Delete the counts of all tenants that nobody is shown any more."""
    RuleHits.unscoped.filter(day__lte=(now - timedelta(days=DAYS)).date()).delete()
