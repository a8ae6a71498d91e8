"""API view of attacks."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import mixins, serializers, viewsets

from waf.attacks import attacks_now
from waf.models import Attack


class AttackFilter(django_filters.FilterSet):
    """By domain and server, and only those that go on."""

    domain = django_filters.UUIDFilter(field_name="domain_id")
    server = django_filters.UUIDFilter(field_name="server_id")
    now = django_filters.BooleanFilter(method="going_on", label="Only those that go on")

    def going_on(self, rows: QuerySet[Attack], name: str, value: Any) -> QuerySet[Attack]:
        """Keep the attacks that go on."""
        return rows.filter(pk__in=attacks_now().values("pk")) if value else rows


class AttackSerializer(serializers.ModelSerializer[Attack]):
    """An attack on a domain as one shield saw it (`attack_detected`); `ended_at` is null while it goes on.

    Rates are per second: when it was noticed, in the time before (`normal`), and at most (`peak`).
    """

    class Meta:
        model = Attack
        fields = (
            "id", "server", "domain", "began_at", "ended_at", "reason", "is_checked", "requests", "normal", "peak",
            "errors", "challenges", "created_at",
        )  # fmt: skip


class AttackViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Attack]):
    """Attacks that shields noticed, newest first; kept for 30 days."""

    serializer_class = AttackSerializer
    filterset_class = AttackFilter

    def get_queryset(self) -> QuerySet[Attack]:
        """Return the attacks of the account."""
        return Attack.objects.all()
