"""API views of policies, list entries and events."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, viewsets

from accounts.authentication import actor
from waf import services
from waf.filters import EventFilter, ListEntryFilter, PolicyFilter
from waf.models import Event, ListEntry, Policy
from waf.serializers import EventSerializer, ListEntrySerializer, PolicySerializer


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


class EventViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Event]):
    """Requests that policies stopped, newest first."""

    serializer_class = EventSerializer
    filterset_class = EventFilter

    def get_queryset(self) -> QuerySet[Event]:
        """Return the events of the account."""
        return Event.objects.all()
