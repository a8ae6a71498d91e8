"""Filters of notifications and deliveries, for API and pages alike."""

import django_filters

from lumos.filters import TimeFilter
from notifications.kinds import Kind
from notifications.models import DeliveryState


class NotificationFilter(django_filters.FilterSet):
    """By kind, server, domain and time."""

    kind = django_filters.ChoiceFilter(choices=Kind.choices)
    server = django_filters.UUIDFilter(field_name="server_id")
    domain = django_filters.UUIDFilter(field_name="domain_id")
    since = TimeFilter(field_name="created_at", lookup_expr="gte")
    until = TimeFilter(field_name="created_at", lookup_expr="lt")


class DeliveryFilter(django_filters.FilterSet):
    """By channel, notification, kind and state."""

    channel = django_filters.UUIDFilter(field_name="channel_id")
    notification = django_filters.UUIDFilter(field_name="notification_id")
    kind = django_filters.ChoiceFilter(field_name="notification__kind", choices=Kind.choices)
    state = django_filters.ChoiceFilter(choices=DeliveryState.choices)
