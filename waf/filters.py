"""Filters of policies, list entries and events, for API and pages alike."""

import django_filters
from django.db.models import Q, QuerySet

from lumos.filters import AddressFilter, TimeFilter
from waf.events import naming
from waf.models import Event, ListEntry, ListKind, Source


class PolicyFilter(django_filters.FilterSet):
    """By domain."""

    domain = django_filters.UUIDFilter(field_name="domain_id")


class ListEntryFilter(django_filters.FilterSet):
    """By domain or the account's own lists, list, exact entry, source, and a part of entry or note."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    account_wide = django_filters.BooleanFilter(field_name="domain", lookup_expr="isnull")
    kind = django_filters.ChoiceFilter(choices=ListKind.choices)
    source = django_filters.ChoiceFilter(choices=Source.choices)
    network = django_filters.CharFilter()
    search = django_filters.CharFilter(method="find")

    def find(self, rows: QuerySet[ListEntry], name: str, value: str) -> QuerySet[ListEntry]:
        """Narrow to entries whose network begins with `value`, or whose note contains it."""
        return rows.filter(Q(network__istartswith=value) | Q(note__icontains=value))


class SubscriptionFilter(django_filters.FilterSet):
    """By domain or the account's own lists."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    account_wide = django_filters.BooleanFilter(field_name="domain", lookup_expr="isnull")


class ExclusionFilter(django_filters.FilterSet):
    """By domain."""

    domain = django_filters.UUIDFilter(field_name="domain_id")


class EventFilter(django_filters.FilterSet):
    """By domain, server, host, action, rule, client, its country and AS number, path, request id and time."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    server = django_filters.UUIDFilter(field_name="server_id")
    host = django_filters.CharFilter(lookup_expr="iexact")
    action = django_filters.CharFilter()
    client = AddressFilter()
    country = django_filters.CharFilter(lookup_expr="iexact")
    asn = django_filters.NumberFilter(label="AS number", min_value=1, max_value=2**32 - 1)
    rule = django_filters.CharFilter(method="filter_rule", label="Rule")
    path = django_filters.CharFilter(lookup_expr="icontains", label="Path contains")
    request_id = django_filters.CharFilter()
    since = TimeFilter(field_name="time", lookup_expr="gte")
    until = TimeFilter(field_name="time", lookup_expr="lt")

    def filter_rule(self, events: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        """Keep events in which a rule objected."""
        return naming(events, value)
