"""Shapes of notifications in the API."""

from typing import Any

from rest_framework import serializers

from domains.serializers import ScopedDomain, ScopedServers
from notifications.kinds import OFFERED
from notifications.models import Attempt, Channel, ChannelKind, Delivery, MaintenanceWindow, Notification


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """One thing that happened. `repeats` counts how often the same happened again within its quiet time."""

    class Meta:
        model = Notification
        fields = (
            "id", "kind", "title", "text", "data", "is_urgent", "server", "domain", "repeats", "state", "created_at",
        )  # fmt: skip


class ChannelSerializer(serializers.ModelSerializer[Channel]):
    """Where notifications go.

    `target` of an e-mail channel is the address, of a webhook the URL, of a chat what its service calls for (see
    `POST /notification-channels`); what is secret in it is not shown again. Until `confirmed_at` it gets nothing.
    """

    kind = serializers.ChoiceField(choices=ChannelKind.choices)
    target = serializers.CharField(max_length=500, required=False, allow_blank=True)
    choices = serializers.DictField(
        child=serializers.BooleanField(),
        required=False,
        help_text=f"{{kind: false}} for what is not told; kinds are {', '.join(OFFERED)}.",
    )

    class Meta:
        model = Channel
        fields = (
            "id", "name", "kind", "target", "choices", "digest", "enabled", "disabled_reason", "is_default",
            "confirmed_at", "failures", "failing_since", "created_at",
        )  # fmt: skip
        read_only_fields = (
            "id", "disabled_reason", "is_default", "confirmed_at", "failures", "failing_since", "created_at",
        )  # fmt: skip
        validators = ()  # the service tells of a duplicate, as 409

    def validate_kind(self, kind: str) -> str:
        """Keep what a channel is."""
        if self.instance is not None and kind != self.instance.kind:
            raise serializers.ValidationError("A channel stays what it is; add another one.")
        return kind


class NewChannelSerializer(ChannelSerializer):
    """Answer to create: the only time that a webhook's secret is shown; it is empty for other channels."""

    secret = serializers.SerializerMethodField(help_text="`whsec_…`, shown once.")

    class Meta(ChannelSerializer.Meta):
        fields = (*ChannelSerializer.Meta.fields, "secret")  # type: ignore[assignment]

    def get_secret(self, row: Any) -> str:
        """Return the secret that the view just made."""
        return str(self.context["secret"])


class ChannelSecretSerializer(serializers.Serializer[Any]):
    """A new secret, shown once. Until `previous_until` webhooks are signed with the previous one as well."""

    secret = serializers.CharField()
    previous_until = serializers.DateTimeField()


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One try: what was sent, what came back (both cut), and why it failed."""

    class Meta:
        model = Attempt
        fields = ("id", "created_at", "duration_ms", "status", "request", "response", "error")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One notification for one channel."""

    kind = serializers.CharField(source="notification.kind", read_only=True)

    class Meta:
        model = Delivery
        fields = (
            "id", "notification", "kind", "channel", "state", "tries", "next_at", "expires_at", "delivered_at",
            "reason", "created_at",
        )  # fmt: skip


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its attempts, the newest first."""

    attempts = AttemptSerializer(many=True, read_only=True)

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "attempts")  # type: ignore[assignment]


class MaintenanceSerializer(serializers.ModelSerializer[MaintenanceWindow]):
    """A time in which nothing is told of a server, of a domain, or, with neither, of anything in the account."""

    server = ScopedServers(required=False, allow_null=True)
    domain = ScopedDomain(required=False, allow_null=True)
    created_by = serializers.CharField(read_only=True, source="created_by.email", allow_null=True, default=None)

    class Meta:
        model = MaintenanceWindow
        fields = ("id", "server", "domain", "starts_at", "ends_at", "note", "created_by", "created_at")
        read_only_fields = ("id", "created_at")
