"""API views of policies, list entries and events."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import mixins, viewsets

from accounts.authentication import actor
from waf import services
from waf.models import Event, ListEntry, ListKind, Policy
from waf.serializers import EventSerializer, ListEntrySerializer, PolicySerializer


class PolicyFilter(django_filters.FilterSet):
    """By domain."""

    domain = django_filters.UUIDFilter(field_name="domain_id")


class PolicyViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.UpdateModelMixin, viewsets.GenericViewSet[Policy]
):
    """WAF settings; every domain has exactly one policy, made and removed with it."""

    serializer_class = PolicySerializer
    http_method_names = ["get", "patch", "head", "options"]
    filterset_class = PolicyFilter

    def get_queryset(self) -> QuerySet[Policy]:
        """Return the policies of the account."""
        return Policy.objects.all()

    def perform_update(self, serializer: Any) -> None:
        """Change mode or level."""
        serializer.instance = services.change_policy(
            policy=serializer.instance, actor=actor(self.request), **serializer.validated_data
        )


class ListEntryFilter(django_filters.FilterSet):
    """By domain, list and exact network."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    kind = django_filters.ChoiceFilter(choices=ListKind.choices)
    network = django_filters.CharFilter()


class ListEntryViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[ListEntry],
):
    """Allow and deny lists: allow wins over deny and skips every other check."""

    serializer_class = ListEntrySerializer
    filterset_class = ListEntryFilter

    def get_queryset(self) -> QuerySet[ListEntry]:
        """Return the entries of the account."""
        return ListEntry.objects.all()

    def perform_create(self, serializer: Any) -> None:
        """Add an entry."""
        serializer.instance = services.add_list_entry(actor=actor(self.request), **serializer.validated_data)

    def perform_destroy(self, instance: ListEntry) -> None:
        """Remove an entry."""
        services.remove_list_entry(entry=instance, actor=actor(self.request))


class EventFilter(django_filters.FilterSet):
    """By domain, server, action, client, request id and time."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    server = django_filters.UUIDFilter(field_name="server_id")
    since = django_filters.IsoDateTimeFilter(field_name="time", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter(field_name="time", lookup_expr="lt")
    action = django_filters.CharFilter()
    client = django_filters.CharFilter()
    request_id = django_filters.CharFilter()


class EventViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Event]):
    """Requests that policies stopped, newest first."""

    serializer_class = EventSerializer
    filterset_class = EventFilter

    def get_queryset(self) -> QuerySet[Event]:
        """Return the events of the account."""
        return Event.objects.all()
