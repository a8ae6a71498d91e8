"""Shapes of servers and metrics in the API."""

from typing import Any

from rest_framework import serializers

from servers.models import HourlyMetric, Server, ServerStatus


class ServerSerializer(serializers.ModelSerializer[Server]):
    """A shield with its live status and how far the newest change has come."""

    status = serializers.ChoiceField(choices=ServerStatus.choices, read_only=True)

    class Meta:
        model = Server
        fields = (
            "id", "name", "region", "public_ipv4", "public_ipv6", "status", "token_prefix", "revision", "apply_state",
            "applied_revision", "applied_digest", "applied_at", "apply_report", "last_seen_at", "facts", "health",
            "created_at",
        )  # fmt: skip
        read_only_fields = (
            "id", "token_prefix", "revision", "apply_state", "applied_revision", "applied_digest", "applied_at",
            "apply_report", "last_seen_at", "facts", "health", "created_at",
        )  # fmt: skip


class ServerWithTokenSerializer(serializers.Serializer[Any]):
    """Answer to create and rotate: the only time that the token is shown."""

    server = ServerSerializer()
    token = serializers.CharField(help_text="Shown once; only its hash is kept.")
    install = serializers.CharField(help_text="What to run on the VPS.")


class MetricSerializer(serializers.ModelSerializer[HourlyMetric]):
    """One hour of one domain on one server."""

    class Meta:
        model = HourlyMetric
        fields = ("server", "domain", "hour", *HourlyMetric.COUNTERS)
