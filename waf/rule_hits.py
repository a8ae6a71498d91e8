"""How often custom rules held, whatever they do, as shields count it."""

import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from lumos_agent import protocol
from waf.models import CustomRule, RuleHits

DAYS = 30


def count_hits(told: Iterable[protocol.RuleHits]) -> None:
    """Add what one batch tells, inside the caller's transaction; rules that are gone are ignored."""
    today = timezone.now().date()
    found: Counter[tuple[uuid.UUID, date]] = Counter()
    for part in told:
        found[uuid.UUID(part.rule), _day(part.hour, today)] += part.hits
    if not found:
        return
    rules = CustomRule.objects.filter(pk__in={rule for rule, _ in found})
    domains = dict(rules.values_list("pk", "domain_id"))
    for (rule, day), hits in sorted(found.items()):
        if rule in domains:
            row, _ = RuleHits.objects.get_or_create(domain_id=domains[rule], rule=rule, day=day)
            RuleHits.objects.filter(pk=row.pk).update(hits=F("hits") + hits)


def _day(seconds: int, today: date) -> date:
    """Return the day of a Unix time, or the nearest that is kept: a shield's clock may be wrong."""
    try:
        day = datetime.fromtimestamp(seconds, UTC).date()
    except (ValueError, OverflowError, OSError):
        return today
    return min(max(day, today - timedelta(days=DAYS)), today)


def with_hits(rules: QuerySet[CustomRule]) -> QuerySet[CustomRule]:
    """Return rules with `hits_today` and `hits_30_days`."""
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
