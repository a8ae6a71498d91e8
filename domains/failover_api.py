"""API of failover and of DNS providers."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from domains import failover
from domains.dns import providers, publishing
from domains.dns.providers import ProviderData
from domains.dns.rfc2136 import ALGORITHMS
from domains.failover_models import (
    TTL_MAX,
    TTL_MIN,
    DnsProvider,
    Failover,
    FailoverDecision,
    FailoverMode,
    ProviderKind,
    Publication,
)
from domains.failover_weights import WEIGHT_MIN, WEIGHT_USUAL
from domains.models import Domain
from domains.serializers import ScopedServers
from lumos.api import CursorPagination
from lumos_agent.failover import GAP_SECONDS, HOLD_DOWN_SECONDS
from lumos_agent.zone import WEIGHT_MAX

ACTIONS = ("switch", "hold", "release", "drill", "end-drill", "adopt")


@extend_schema_field(OpenApiTypes.UUID)
class ScopedProvider(serializers.PrimaryKeyRelatedField[DnsProvider]):
    """Id of a DNS provider of this account; those of others do not exist."""

    def get_queryset(self) -> Any:
        return DnsProvider.objects.all()


@extend_schema_field(OpenApiTypes.UUID)
class ScopedServer(ScopedServers):
    """Id of a server of this account."""


class FailoverSerializer(serializers.Serializer[Failover]):
    """How a domain fails over, and what it answers now.

    `answered` are servers in order; `addresses` is what its name should answer. Time alone may change that at `due_at`.
    """

    mode = serializers.ChoiceField(choices=FailoverMode.choices, default=FailoverMode.ORDERED)
    weights = serializers.DictField(
        child=serializers.IntegerField(min_value=WEIGHT_MIN, max_value=WEIGHT_MAX),
        default=dict,
        help_text=f"How often each server is answered, by id, in the mode `weighted`; usually {WEIGHT_USUAL}.",
    )
    hold_down_seconds = serializers.IntegerField(
        min_value=0,
        max_value=86_400,
        default=HOLD_DOWN_SECONDS,
        help_text="How long a server serves before it is back.",
    )
    gap_seconds = serializers.IntegerField(
        min_value=0, max_value=86_400, default=GAP_SECONDS, help_text="Nothing comes back sooner after a change."
    )
    provider = ScopedProvider(required=False, allow_null=True, default=None)
    ttl = serializers.IntegerField(min_value=TTL_MIN, max_value=TTL_MAX, default=60)
    preferred = serializers.UUIDField(source="preferred_id", read_only=True, allow_null=True)
    is_held = serializers.BooleanField(read_only=True)
    drilled = serializers.UUIDField(source="drilled_id", read_only=True, allow_null=True)
    drill_until = serializers.DateTimeField(read_only=True, allow_null=True)
    answered = serializers.ListField(child=serializers.UUIDField(), read_only=True)
    addresses = serializers.ListField(child=serializers.IPAddressField(), read_only=True)
    reason = serializers.CharField(read_only=True)
    changed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    due_at = serializers.DateTimeField(read_only=True, allow_null=True)
    publication = serializers.ChoiceField(choices=Publication.choices, read_only=True)
    publish_error = serializers.CharField(read_only=True)


class FailoverActionSerializer(serializers.Serializer[Any]):
    """What a person does: `switch` (to `server`; without one back to the order), `hold`, `release`, `drill`
    (of `server`, or of the answered one, for `minutes`), `end-drill`, `adopt` (take records at the provider over).
    """

    action = serializers.ChoiceField(choices=ACTIONS)
    server = ScopedServer(required=False, allow_null=True, default=None)
    minutes = serializers.IntegerField(min_value=1, max_value=failover.DRILL_MINUTES_MAX, default=5)


class DnsEntrySerializer(serializers.Serializer[Any]):
    """A record."""

    name = serializers.CharField()
    kind = serializers.CharField()
    content = serializers.CharField()


class DnsPlanSerializer(serializers.Serializer[Any]):
    """What would be written at the provider now; `refused` says why nothing would be."""

    add = DnsEntrySerializer(many=True)
    remove = DnsEntrySerializer(many=True)
    keep = DnsEntrySerializer(many=True)
    refused = serializers.CharField()


class FailoverDecisionSerializer(serializers.ModelSerializer[FailoverDecision]):
    """A change of what a domain answers, with the evidence of that moment."""

    actor = serializers.StringRelatedField()  # type: ignore[var-annotated]

    class Meta:
        model = FailoverDecision
        fields = ("id", "cause", "reason", "before", "answered", "addresses", "evidence", "actor", "created_at")


class ProviderSerializer(serializers.ModelSerializer[DnsProvider]):
    """Access to a DNS provider. The credential is never shown again; `server` to `algorithm` are of RFC 2136."""

    kind = serializers.ChoiceField(choices=ProviderKind.choices)
    credential = serializers.CharField(
        write_only=True, max_length=500, help_text="An API token, or a TSIG secret in base64."
    )
    port = serializers.IntegerField(min_value=1, max_value=65_535, default=53)
    algorithm = serializers.ChoiceField(choices=ALGORITHMS, default=ALGORITHMS[0])

    class Meta:
        model = DnsProvider
        fields = ("id", "name", "kind", "zone", "server", "port", "key_name", "algorithm", "credential", "created_at")
        read_only_fields = ("id", "created_at")
        validators = ()  # the service tells of a duplicate, as 409


class FailoverView(APIView):
    """Failover of one domain."""

    @extend_schema(responses=FailoverSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Return rule and present answer; 404 while the domain has no failover."""
        return Response(FailoverSerializer(_row(pk)).data)

    @extend_schema(request=FailoverSerializer, responses=FailoverSerializer)
    def put(self, request: Request, pk: uuid.UUID) -> Response:
        """Switch failover on, or replace its settings."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        form = FailoverSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        data = failover.FailoverData(**form.validated_data)
        row = failover.put_failover(domain_id=domain.pk, data=data, actor=actor(request))
        return Response(FailoverSerializer(row).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """Switch it off; records that were published stay as they are."""
        failover.remove_failover(domain_id=_row(pk).domain_id, actor=actor(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FailoverActionView(APIView):
    """Manual switch, hold, drill, taking records over."""

    @extend_schema(request=FailoverActionSerializer, responses=FailoverSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Act, and return what is answered then."""
        row = _row(pk)
        form = FailoverActionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        if form.validated_data["action"] == "adopt":
            publishing.adopt(domain=row.domain, actor=actor(request))
        else:
            failover.act(domain_id=row.domain_id, actor=actor(request), **form.validated_data)
        return Response(FailoverSerializer(_row(pk)).data)


class FailoverPlanView(APIView):
    """A dry run at the provider."""

    @extend_schema(responses=DnsPlanSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Ask the provider, and return what would be written."""
        return Response(publishing.dry_run(_row(pk).domain))


class DecisionViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[FailoverDecision]):
    """What a domain answered, decision by decision, the newest first; kept for 90 days."""

    serializer_class = FailoverDecisionSerializer
    pagination_class = CursorPagination

    def get_queryset(self) -> QuerySet[FailoverDecision]:
        """Return the decisions of the domain that the address names; the description of the API names none."""
        if getattr(self, "swagger_fake_view", False):
            return FailoverDecision.objects.none()
        domain = get_object_or_404(Domain.objects.all(), pk=self.kwargs["domain_pk"])
        return FailoverDecision.objects.filter(domain=domain).select_related("actor")


class ProviderViewSet(
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[DnsProvider],
):
    """DNS providers that failover writes to."""

    serializer_class = ProviderSerializer

    def get_queryset(self) -> QuerySet[DnsProvider]:
        """Return the providers of the account."""
        return DnsProvider.objects.all()

    def perform_create(self, serializer: Any) -> None:
        """Keep access to one more."""
        data = ProviderData(**serializer.validated_data)
        serializer.instance = providers.add_provider(data=data, actor=actor(self.request))

    def perform_destroy(self, instance: DnsProvider) -> None:
        """Forget it; records there stay."""
        providers.remove_provider(provider=instance, actor=actor(self.request))


def _row(domain_id: uuid.UUID) -> Failover:
    row: Failover | None = Failover.objects.filter(domain_id=domain_id).select_related("domain").first()
    if row is None:
        raise Http404
    return row
