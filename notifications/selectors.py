"""Named reads for pages: notifications with how telling went."""

from django.db.models import Count, OuterRef, QuerySet, Subquery

from notifications.models import Delivery, DeliveryState, Notification


def _count(state: DeliveryState) -> Subquery:
    own = Delivery.unscoped.filter(notification=OuterRef("pk"), state=state).order_by()
    return Subquery(own.values("notification").annotate(count=Count("pk")).values("count"))


def told(rows: QuerySet[Notification]) -> QuerySet[Notification]:
    """Return notifications with counts of their deliveries by state: `delivered`, `waiting`, `failed`; None is 0."""
    return rows.annotate(
        delivered=_count(DeliveryState.DELIVERED),
        waiting=_count(DeliveryState.DUE),
        failed=_count(DeliveryState.FAILED),
    )
