"""API views of policies, list entries and events."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from waf import bans, lists, services, subscriptions
from waf.filters import EventFilter, ListEntryFilter, PolicyFilter, SubscriptionFilter
from waf.list_import import import_list
from waf.models import Event, ListEntry, ListSubscription, Policy
from waf.serializers import (
    EventSerializer,
    ListEntrySerializer,
    ListImportedSerializer,
    ListImportSerializer,
    PolicySerializer,
    SubscriptionSerializer,
    WafSettingsSerializer,
)


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
    """Allow and deny lists of single domains and of all: allow wins over deny and skips every other check."""

    serializer_class = ListEntrySerializer
    filterset_class = ListEntryFilter

    def get_queryset(self) -> QuerySet[ListEntry]:
        """Return the entries of the account."""
        return ListEntry.objects.select_related("added_by")

    def perform_create(self, serializer: Any) -> None:
        """Add an entry."""
        serializer.instance = lists.add_list_entry(actor=actor(self.request), **serializer.validated_data)

    def perform_destroy(self, instance: ListEntry) -> None:
        """Remove an entry."""
        lists.remove_list_entry(entry=instance, actor=actor(self.request))

    @extend_schema(request=ListImportSerializer, responses=ListImportedSerializer)
    @action(detail=False, methods=["post"], url_path="import", filterset_class=None)
    def import_text(self, request: Request) -> Response:
        """Import a list from text: all of it or nothing."""
        given = ListImportSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        done = import_list(actor=actor(request), **given.validated_data)
        return Response(ListImportedSerializer(done).data)


class SubscriptionViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[ListSubscription],
):
    """Lists that are fetched from a URL; one that is removed takes its entries with it."""

    serializer_class = SubscriptionSerializer
    filterset_class = SubscriptionFilter

    def get_queryset(self) -> QuerySet[ListSubscription]:
        """Return the subscriptions of the account."""
        return ListSubscription.objects.all()

    def perform_create(self, serializer: Any) -> None:
        """Add a subscription."""
        serializer.instance = subscriptions.add_subscription(actor=actor(self.request), **serializer.validated_data)

    def perform_destroy(self, instance: ListSubscription) -> None:
        """End a subscription."""
        lists.end_subscription(subscription=instance, actor=actor(self.request))


class WafSettingsView(APIView):
    """What holds for the WAF of the whole account."""

    @extend_schema(responses=WafSettingsSerializer)
    def get(self, request: Request) -> Response:
        """Return the settings."""
        return Response({"share_bans": bans.shares_bans()})

    @extend_schema(request=WafSettingsSerializer, responses=WafSettingsSerializer)
    def patch(self, request: Request) -> Response:
        """Change the settings."""
        given = WafSettingsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        bans.change_settings(actor=actor(request), **given.validated_data)
        return self.get(request)


class EventViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Event]):
    """Requests that policies stopped, newest first."""

    serializer_class = EventSerializer
    filterset_class = EventFilter

    def get_queryset(self) -> QuerySet[Event]:
        """Return the events of the account."""
        return Event.objects.all()
