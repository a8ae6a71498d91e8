"""API views of domains."""

from typing import Any

import django_filters
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import actor
from domains import health, presets, rollouts, services, uploads
from domains.clone import clone_settings
from domains.models import Domain
from domains.serializers import (
    CloneSerializer,
    DomainSerializer,
    PresetSerializer,
    RecipientSerializer,
    UploadSerializer,
)


class DomainFilter(django_filters.FilterSet):
    """By exact hostname, part of it, or server."""

    hostname = django_filters.CharFilter(lookup_expr="iexact")
    search = django_filters.CharFilter(field_name="hostname", lookup_expr="icontains")
    server = django_filters.UUIDFilter(field_name="assignments__server_id")


class DomainViewSet(viewsets.ModelViewSet[Domain]):
    """Protected hostnames. `origins` and `servers` are replaced as a whole when a PATCH names them."""

    serializer_class = DomainSerializer
    filterset_class = DomainFilter
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> QuerySet[Domain]:
        """Return the domains of the account with what the serializer shows, in a constant number of queries."""
        return Domain.objects.select_related("policy").prefetch_related(
            Prefetch("origins__health", health.of_assigned_servers()),
            "assignments",
            "servers",
            "certificates",
            "rollouts",
        )

    def perform_create(self, serializer: Any) -> None:
        """Add a domain."""
        serializer.instance = services.add_domain(actor=actor(self.request), **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change a domain."""
        domain = services.change_domain(
            domain_id=serializer.instance.pk, actor=actor(self.request), **serializer.validated_data
        )
        serializer.instance = self.get_queryset().get(pk=domain.pk)

    @extend_schema(request=None, responses=DomainSerializer)
    @action(detail=True, methods=["post"], url_path="release-rollout")
    def release_rollout(self, request: Request, pk: str | None = None) -> Response:
        """Put a staged change that waits or was stopped on all servers now."""
        rollouts.release(domain=self.get_object(), actor=actor(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses=RecipientSerializer(many=True))
    @action(
        detail=True, methods=["get"], url_path="certificate-recipients", pagination_class=None, filterset_class=None
    )
    def certificate_recipients(self, request: Request, pk: str | None = None) -> Response:
        """List the servers of this domain with the public keys that a private key is sealed to (HPKE, RFC 9180)."""
        return Response(RecipientSerializer(uploads.recipients(self.get_object()), many=True).data)

    @extend_schema(request=UploadSerializer, responses=DomainSerializer)
    @action(detail=True, methods=["post"], url_path="certificate")
    def upload_certificate(self, request: Request, pk: str | None = None) -> Response:
        """Serve this domain with a certificate of its own. Its private key is sealed to each server beforehand."""
        domain = self.get_object()
        form = UploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        keys = {row["server"]: row["sealed_key"] for row in form.validated_data["keys"]}
        uploads.upload_certificate(
            domain=domain, chain=form.validated_data["chain"], sealed_keys=keys, actor=actor(request)
        )
        return Response(self.get_serializer(self.get_object()).data)

    def perform_destroy(self, instance: Domain) -> None:
        """Remove a domain."""
        services.remove_domain(domain=instance, actor=actor(self.request))

    @extend_schema(request=PresetSerializer, responses=DomainSerializer)
    @action(detail=True, methods=["post"], url_path="apply-preset")
    def apply_preset(self, request: Request, pk: str | None = None) -> Response:
        """Set the traffic settings that suit a kind of site; others stay."""
        domain, form = self.get_object(), PresetSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        presets.apply_preset(domain_id=domain.pk, name=form.validated_data["preset"], actor=actor(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=DomainSerializer)
    @action(detail=True, methods=["post"], url_path="purge-cache")
    def purge_cache(self, request: Request, pk: str | None = None) -> Response:
        """Forget what the servers of this domain have cached."""
        services.purge_cache(domain_id=self.get_object().pk, actor=actor(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=CloneSerializer, responses=DomainSerializer)
    @action(detail=True, methods=["post"], url_path="clone-settings")
    def clone_settings(self, request: Request, pk: str | None = None) -> Response:
        """Replace parts of this domain by those of another one."""
        domain = self.get_object()
        form = CloneSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        source, parts = form.validated_data["from"], form.validated_data["parts"]
        clone_settings(domain_id=domain.pk, source_id=source.pk, parts=parts, actor=actor(request))
        return Response(self.get_serializer(self.get_object()).data)
