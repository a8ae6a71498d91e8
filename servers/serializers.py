"""Shapes of servers and metrics in the API."""

from typing import Any

import msgspec
from rest_framework import serializers

from servers import history
from servers.models import HourlyMetric, Server, ServerStatus, ServerVerdict, Sight, SnapshotRecord, VerdictChange


class VerdictSerializer(serializers.ModelSerializer[ServerVerdict]):
    """How a shield does, by its agent and by probes: `reasons` are for people."""

    class Meta:
        model = ServerVerdict
        fields = ("state", "reasons", "down_addresses", "since")


class SightSerializer(serializers.ModelSerializer[Sight]):
    """What a vantage point sees of one address; `vantage` null is Lumos itself."""

    class Meta:
        model = Sight
        fields = ("address", "vantage", "is_ok", "reason", "seconds", "since")


class VerdictChangeSerializer(serializers.ModelSerializer[VerdictChange]):
    """A verdict that was another one before."""

    class Meta:
        model = VerdictChange
        fields = ("state", "reasons", "created_at")


class ProbesSerializer(serializers.Serializer[Any]):
    """What vantage points see now, and the newest 50 changes of the verdict."""

    sights = SightSerializer(many=True)
    changes = VerdictChangeSerializer(many=True)


class ServerSerializer(serializers.ModelSerializer[Server]):
    """A shield with its live status and how far the newest change has come."""

    status = serializers.ChoiceField(choices=ServerStatus.choices, read_only=True)
    verdict = VerdictSerializer(read_only=True, allow_null=True, default=None)

    class Meta:
        model = Server
        fields = (
            "id", "name", "region", "public_ipv4", "public_ipv6", "status", "verdict", "token_prefix", "revision",
            "apply_state", "applied_revision", "applied_digest", "applied_at", "apply_report", "last_seen_at", "facts",
            "health", "decommissioned_at", "errand_error", "created_at",
        )  # fmt: skip
        read_only_fields = (
            "id", "token_prefix", "revision", "apply_state", "applied_revision", "applied_digest", "applied_at",
            "apply_report", "last_seen_at", "facts", "health", "decommissioned_at", "errand_error", "created_at",
        )  # fmt: skip


class DecommissionSerializer(serializers.Serializer[Any]):
    """`force`: even if a domain is left without any server."""

    force = serializers.BooleanField(default=False)


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


class SnapshotSerializer(serializers.ModelSerializer[SnapshotRecord]):
    """One revision: when, by whom, why, and what became of it. `digest` is empty until it is compiled."""

    author = serializers.StringRelatedField(help_text="E-mail address; null if that person is gone.")  # type: ignore[var-annotated]

    class Meta:
        model = SnapshotRecord
        fields = ("revision", "epoch", "digest", "domains", "author", "cause", "changes", "state", "created_at")


class SnapshotContentSerializer(SnapshotSerializer):
    """A revision with everything that the server was to run."""

    content = serializers.SerializerMethodField()

    class Meta(SnapshotSerializer.Meta):
        fields = (*SnapshotSerializer.Meta.fields, "content")  # type: ignore[assignment]

    def get_content(self, row: SnapshotRecord) -> dict[str, Any]:
        """Return the snapshot as the agent gets it."""
        shown: dict[str, Any] = msgspec.to_builtins(history.content(row))
        return shown


class ChangedDomainSerializer(serializers.Serializer[Any]):
    """One domain that two revisions have in common."""

    id = serializers.UUIDField()
    hostname = serializers.CharField()
    changes = serializers.DictField(help_text="{field: {before, after}}; lists of networks as {added, removed}.")


class DiffSerializer(serializers.Serializer[Any]):
    """What changed from revision `against` to `revision`."""

    revision = serializers.IntegerField()
    against = serializers.IntegerField(allow_null=True, help_text="null: the server had nothing before.")
    added = serializers.ListField(child=serializers.DictField())
    removed = serializers.ListField(child=serializers.DictField())
    changed = ChangedDomainSerializer(many=True)
    server = serializers.DictField(help_text="What changed of the server itself, such as its forwards.")
    account = serializers.DictField(
        help_text="What changed for all domains, as `changes` of a domain; a roll-back leaves it as it is."
    )


class PreviewSerializer(serializers.Serializer[Any]):
    """What the shield would run with the present rows."""

    revision = serializers.IntegerField()
    haproxy_cfg = serializers.CharField()


class ReunionSerializer(serializers.Serializer[Any]):
    """What counts: what the dashboard shows, which is then sent, or what the shield runs, which is then shown."""

    counts = serializers.ChoiceField(choices=["dashboard", "shield"])


class RestoredSerializer(serializers.Serializer[Any]):
    """What a roll-back led to."""

    revision = serializers.IntegerField(help_text="The new revision; a roll-back is a change like any other.")
    domains = serializers.IntegerField(help_text="How many domains differed and were set back.")
