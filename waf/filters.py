"""Filters of policies, list entries and events, for API and pages alike."""

import django_filters
from django import forms
from django.db.models import QuerySet

from waf.models import Event, ListKind


class AddressFilter(django_filters.Filter):
    """An exact IP address; anything else is a message, not a database error."""

    field_class: type[forms.Field] = forms.GenericIPAddressField


class PolicyFilter(django_filters.FilterSet):
    """By domain."""

    domain = django_filters.UUIDFilter(field_name="domain_id")


class ListEntryFilter(django_filters.FilterSet):
    """By domain, list and exact network."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    kind = django_filters.ChoiceFilter(choices=ListKind.choices)
    network = django_filters.CharFilter()


class ExclusionFilter(django_filters.FilterSet):
    """By domain."""

    domain = django_filters.UUIDFilter(field_name="domain_id")


class EventFilter(django_filters.FilterSet):
    """By domain, server, host, action, rule, client, path, request id and time."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    server = django_filters.UUIDFilter(field_name="server_id")
    host = django_filters.CharFilter(lookup_expr="iexact")
    action = django_filters.CharFilter()
    client = AddressFilter()
    rule = django_filters.CharFilter(method="filter_rule", label="Rule")
    path = django_filters.CharFilter(lookup_expr="icontains", label="Path contains")
    request_id = django_filters.CharFilter()
    since = django_filters.IsoDateTimeFilter(field_name="time", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter(field_name="time", lookup_expr="lt")

    def filter_rule(self, events: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        """Keep events in which a rule objected."""
        return events.filter(rules__contains=[value])
