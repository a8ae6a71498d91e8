"""API of forwards."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import serializers, viewsets

from accounts.authentication import actor
from domains.serializers import ScopedServers
from lumos_agent.forward import RESERVED
from servers import forwards
from servers.forward_models import Forward, Transport
from servers.models import Server

_OWN = ", ".join(f"{port} ({name})" for port, name in RESERVED.items())


class ForwardFilter(django_filters.FilterSet):
    """By server, protocol and port."""

    server = django_filters.UUIDFilter(field_name="server_id")
    protocol = django_filters.ChoiceFilter(choices=Transport.choices)
    port = django_filters.NumberFilter()


class DaySerializer(serializers.Serializer[Any]):
    """What a forward passed on in the last 24 hours. Sessions are TCP's, packets UDP's."""

    sessions = serializers.IntegerField()
    bytes_in = serializers.IntegerField()
    bytes_out = serializers.IntegerField()
    packets_in = serializers.IntegerField()
    packets_out = serializers.IntegerField()


class ForwardSerializer(serializers.ModelSerializer[Forward]):
    """A port of a server that is passed on: TCP through HAProxy, UDP by the kernel.

    A client address (IPv6: /64) may have `connections` TCP connections at once, or send `packets_per_second`; 0 is no
    limit. A UDP target is an IP address, and sees the shield's address.
    """

    server = ScopedServers()
    port = serializers.IntegerField(min_value=1, max_value=65_535, help_text=f"Any but the shield's own: {_OWN}.")
    target_port = serializers.IntegerField(min_value=1, max_value=65_535)
    idle_seconds = serializers.IntegerField(
        min_value=10, max_value=86_400, default=300, help_text="After this long without a byte a session is forgotten."
    )
    connections = serializers.IntegerField(min_value=0, max_value=1_000_000, default=0)
    packets_per_second = serializers.IntegerField(min_value=0, max_value=1_000_000, default=0)
    last_24_hours = DaySerializer(source="day", read_only=True)

    class Meta:
        model = Forward
        fields = (
            "id", "server", "name", "protocol", "port", "target", "target_port", "idle_seconds", "connections",
            "packets_per_second", "proxy_protocol", "enabled", "last_24_hours", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "created_at")
        validators: list[Any] = []  # the service says who has the port

    def validate_server(self, server: Server) -> Server:
        """Keep a forward where it is."""
        if self.instance is not None and server.pk != self.instance.server_id:
            raise serializers.ValidationError("A forward stays with its server; add one to the other server.")
        return server

    def to_representation(self, instance: Forward) -> dict[str, Any]:
        """Add the counts where the list has not read them for all at once."""
        if not hasattr(instance, "day"):
            forwards.add_day([instance])
        return super().to_representation(instance)


class ForwardViewSet(viewsets.ModelViewSet[Forward]):
    """Ports that servers pass on as they are."""

    serializer_class = ForwardSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_class = ForwardFilter

    def get_queryset(self) -> QuerySet[Forward]:
        """Return the forwards of the account."""
        return Forward.objects.all()

    def paginate_queryset(self, queryset: Any) -> Any:
        """Read the counts of a page at once."""
        rows = super().paginate_queryset(queryset)
        forwards.add_day(rows or [])
        return rows

    def perform_create(self, serializer: Any) -> None:
        """Add a forward."""
        serializer.instance = forwards.add_forward(actor=actor(self.request), **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change a forward; sessions of others do not notice."""
        values = {name: value for name, value in serializer.validated_data.items() if name != "server"}
        serializer.instance = forwards.change_forward(forward=serializer.instance, actor=actor(self.request), **values)

    def perform_destroy(self, instance: Forward) -> None:
        """Pass the port on no more."""
        forwards.remove_forward(forward=instance, actor=actor(self.request))
