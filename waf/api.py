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
from lumos.errors import InvalidInput
from waf import custom_rules, exclusions, lists, selectors, services, subscriptions, trial
from waf.filters import EventFilter, ExclusionFilter, ListEntryFilter, PolicyFilter, SubscriptionFilter
from waf.list_import import import_list
from waf.models import CustomRule, Event, Exclusion, ListEntry, ListSubscription, Policy
from waf.rule_hits import with_hits
from waf.rules import catalogue
from waf.serializers import (
    CustomRuleSerializer,
    DryRunRequestSerializer,
    DryRunSerializer,
    EventSerializer,
    ExclusionSerializer,
    ListEntrySerializer,
    ListImportedSerializer,
    ListImportSerializer,
    PolicySerializer,
    RuleCatalogueSerializer,
    SubscriptionSerializer,
    TopSerializer,
    TrialRequestSerializer,
    TrialSerializer,
)


class PolicyViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.UpdateModelMixin, viewsets.GenericViewSet[Policy]
):
    """WAF settings; every domain has exactly one policy, made and removed with it."""

    serializer_class = PolicySerializer
    http_method_names = ["get", "patch", "post", "head", "options"]
    filterset_class = PolicyFilter

    def get_queryset(self) -> QuerySet[Policy]:
        """Return the policies of the account."""
        return Policy.objects.all()

    def perform_update(self, serializer: Any) -> None:
        """Change mode, level or the modes of groups."""
        serializer.instance = services.change_policy(
            policy=serializer.instance, actor=actor(self.request), **serializer.validated_data
        )

    @extend_schema(request=TrialRequestSerializer, responses=TrialSerializer)
    @action(detail=True, methods=["post"], url_path="try")
    def try_request(self, request: Request, pk: str) -> Response:
        """Judge a request with the engine of the shields; nothing is stored or sent anywhere."""
        policy = self.get_object()
        given = TrialRequestSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        found, policy_part = trial.try_request(domain=policy.domain, request=_raw(given.validated_data))
        answer = {
            "action": found.action,
            "score": found.score,
            "threshold": catalogue().thresholds[policy_part.level],
            "findings": found.findings,
        }
        return Response(TrialSerializer(answer).data)


def _raw(given: dict[str, Any]) -> bytes:
    raw = given.pop("request", None)
    if (raw is None) == (not given):
        raise InvalidInput("Give either the raw request, or url with method, headers and body.", field="request")
    if raw is not None:
        return str(raw).encode()
    return trial.raw_request(
        method=given.get("method", "GET"),
        url=given.get("url", "/"),
        headers=given.get("headers", {}),
        body=given.get("body", ""),
    )


class RuleCatalogueView(APIView):
    """What the engine looks for."""

    @extend_schema(responses=RuleCatalogueSerializer)
    def get(self, request: Request) -> Response:
        """Return the groups of rules, each with its rules, and the thresholds of the levels."""
        found = catalogue()
        groups = [
            {"name": name, "about": about, "rules": [rule for rule in found.rules.values() if rule.group == name]}
            for name, about in found.groups.items()
        ]
        return Response(RuleCatalogueSerializer({"thresholds": found.thresholds, "groups": groups}).data)


class ExclusionViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Exclusion],
):
    """What the rules of a domain do not object to."""

    serializer_class = ExclusionSerializer
    filterset_class = ExclusionFilter

    def get_queryset(self) -> QuerySet[Exclusion]:
        """Return the exclusions of the account."""
        return Exclusion.objects.select_related("created_by")

    def perform_create(self, serializer: Any) -> None:
        """Add an exclusion."""
        serializer.instance = exclusions.add_exclusion(actor=actor(self.request), **serializer.validated_data)

    def perform_destroy(self, instance: Exclusion) -> None:
        """Remove an exclusion."""
        exclusions.remove_exclusion(exclusion=instance, actor=actor(self.request))


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


class CustomRuleViewSet(viewsets.ModelViewSet[CustomRule]):
    """What people decide by conditions of their own, before the rules of the engine."""

    serializer_class = CustomRuleSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_class = ExclusionFilter

    def get_queryset(self) -> QuerySet[CustomRule]:
        """Return the custom rules of the account."""
        return with_hits(CustomRule.objects.all())

    def perform_create(self, serializer: Any) -> None:
        """Add a rule."""
        serializer.instance = custom_rules.add_rule(actor=actor(self.request), **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change a rule."""
        changes = {name: value for name, value in serializer.validated_data.items() if name != "domain"}
        custom_rules.change_rule(rule=serializer.instance, actor=actor(self.request), **changes)
        serializer.instance = self.get_queryset().get(pk=serializer.instance.pk)

    def perform_destroy(self, instance: CustomRule) -> None:
        """Remove a rule."""
        custom_rules.remove_rule(rule=instance, actor=actor(self.request))

    @extend_schema(request=DryRunRequestSerializer, responses=DryRunSerializer)
    @action(detail=False, methods=["post"], url_path="dry-run", pagination_class=None, filterset_class=None)
    def dry_run(self, request: Request) -> Response:
        """Tell what a condition would have held for in the last hour; nothing is stored."""
        given = DryRunRequestSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        found = custom_rules.dry_run_of(**given.validated_data)
        return Response(DryRunSerializer(found).data)


class EventViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Event]):
    """Requests that policies stopped, newest first."""

    serializer_class = EventSerializer
    filterset_class = EventFilter

    def get_queryset(self) -> QuerySet[Event]:
        """Return the events of the account."""
        return Event.objects.all()

    @extend_schema(responses=TopSerializer)
    @action(detail=False, pagination_class=None)
    def top(self, request: Request) -> Response:
        """Return the most frequent values among the events that the filters leave."""
        return Response(selectors.top_lists(self.filter_queryset(self.get_queryset())))
