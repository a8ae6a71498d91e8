"""API views of zones and records."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import actor
from domains import dnssec, zones
from domains.zone_file import export_zone_file, import_zone_file
from domains.zone_models import RecordType, Zone, ZoneRecord
from domains.zone_rules import RecordData
from domains.zone_serializers import (
    DelegationSerializer,
    RecordSerializer,
    SigningSerializer,
    ZoneImportedSerializer,
    ZoneImportSerializer,
    ZoneSerializer,
)


class ZoneFilter(django_filters.FilterSet):
    """By exact name or server."""

    name = django_filters.CharFilter(lookup_expr="iexact")
    server = django_filters.UUIDFilter(field_name="nameservers__server_id")


class RecordFilter(django_filters.FilterSet):
    """By zone, name and type."""

    zone = django_filters.UUIDFilter(field_name="zone_id")
    name = django_filters.CharFilter(lookup_expr="iexact")
    type = django_filters.ChoiceFilter(choices=RecordType.choices)


class ZoneViewSet(viewsets.ModelViewSet[Zone]):
    """DNS zones that the account's shields serve. Only `servers` can be changed; they keep their names."""

    serializer_class = ZoneSerializer
    filterset_class = ZoneFilter
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> QuerySet[Zone]:
        """Return the zones of the account, in a constant number of queries."""
        return Zone.objects.prefetch_related("servers", "nameservers__server", "nameservers__zone")

    def perform_create(self, serializer: Any) -> None:
        """Add a zone."""
        serializer.instance = zones.add_zone(actor=actor(self.request), **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change the servers of a zone."""
        pk = serializer.instance.pk
        if (servers := serializer.validated_data.get("servers")) is not None:
            zones.change_zone(zone_id=pk, servers=servers, actor=actor(self.request))
        serializer.instance = self.get_queryset().get(pk=pk)

    def perform_destroy(self, instance: Zone) -> None:
        """Remove a zone."""
        zones.remove_zone(zone=instance, actor=actor(self.request))

    @extend_schema(responses={(200, "text/dns"): OpenApiTypes.STR})
    @action(detail=True, pagination_class=None, filterset_class=None)
    def file(self, request: Request, pk: str) -> HttpResponse:
        """Return the zone as a zone file; what such a file cannot say is in comments."""
        return HttpResponse(export_zone_file(self.get_object()), content_type="text/dns; charset=utf-8")

    @extend_schema(request=ZoneImportSerializer, responses=ZoneImportedSerializer)
    @action(detail=True, methods=["post"], url_path="import")
    def import_file(self, request: Request, pk: str) -> Response:
        """Take the records of a zone file over; those that cannot be served are named."""
        zone, given = self.get_object(), ZoneImportSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        done = import_zone_file(zone_id=zone.pk, actor=actor(request), **given.validated_data)
        return Response(ZoneImportedSerializer(done).data)

    @extend_schema(request=None, responses=DelegationSerializer)
    @action(detail=True, methods=["post"], url_path="check-delegation")
    def check_delegation(self, request: Request, pk: str) -> Response:
        """Ask the DNS whether the zone is delegated to its servers and served by all of them; takes some seconds."""
        return Response(DelegationSerializer(dnssec.check(self.get_object())).data)

    @extend_schema(request=SigningSerializer, responses=ZoneSerializer)
    @action(detail=True, methods=["post"], url_path="dnssec")
    def sign(self, request: Request, pk: str) -> Response:
        """Have the zone signed, or signed no longer: then its parent is asked for its DS records first."""
        zone, given = self.get_object(), SigningSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        dnssec.switch(zone=zone, actor=actor(request), **given.validated_data)
        return Response(self.get_serializer(self.get_queryset().get(pk=zone.pk)).data)


class RecordViewSet(viewsets.ModelViewSet[ZoneRecord]):
    """Records of zones."""

    serializer_class = RecordSerializer
    filterset_class = RecordFilter
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> QuerySet[ZoneRecord]:
        """Return the records of the account."""
        return ZoneRecord.objects.all()

    def perform_create(self, serializer: Any) -> None:
        """Add a record."""
        values = serializer.validated_data
        zone = values.pop("zone")
        serializer.instance = zones.add_record(
            zone_id=zone.pk, given=RecordData(**_plain(values)), actor=actor(self.request)
        )

    def perform_update(self, serializer: Any) -> None:
        """Change a record."""
        values = {name: value for name, value in serializer.validated_data.items() if name != "zone"}
        serializer.instance = zones.change_record(
            record_id=serializer.instance.pk, actor=actor(self.request), **_plain(values)
        )

    def perform_destroy(self, instance: ZoneRecord) -> None:
        """Remove a record."""
        zones.remove_record(record=instance, actor=actor(self.request))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with the server's id in place of its row."""
    if values.get("server") is not None:
        return {**values, "server": values["server"].pk}
    return values
