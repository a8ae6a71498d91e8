"""API views of zones and records."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import viewsets

from accounts.authentication import actor
from domains import zones
from domains.zone_models import RecordType, Zone, ZoneRecord
from domains.zone_rules import RecordData
from domains.zone_serializers import RecordSerializer, ZoneSerializer


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
