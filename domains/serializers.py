"""Shapes of domains and origins in the API."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from domains import traffic
from domains.clone import Part
from domains.contradictions import inactive
from domains.models import Certificate, Domain, Origin, OriginHealth, Rollout, RolloutState, Tls
from domains.presets import PRESETS
from domains.services import OriginData
from servers.models import Server


class HealthSerializer(serializers.ModelSerializer[OriginHealth]):
    """How an origin does by the checks of one server, as it last reported."""

    class Meta:
        model = OriginHealth
        fields = ("server", "state", "reason", "since")
        read_only_fields = fields


class OriginSerializer(serializers.ModelSerializer[Origin]):
    """Where clean traffic goes: an IP address or hostname, and a port."""

    address = serializers.CharField(max_length=300, trim_whitespace=False, help_text="IPv4, IPv6 or hostname.")
    port = serializers.IntegerField(min_value=1, max_value=65535)
    weight = serializers.IntegerField(min_value=0, max_value=256, default=100)
    tls = serializers.ChoiceField(choices=Tls.choices, default=Tls.OFF)
    health = HealthSerializer(many=True, read_only=True)

    class Meta:
        model = Origin
        fields = ("id", "address", "port", "weight", "backup", "tls", "enabled", "health")
        read_only_fields = ("id",)

    def to_internal_value(self, data: Any) -> Any:
        """Return an `OriginData`; an origin in the list is a whole one, in a PATCH too."""
        found = super().to_internal_value(data)
        if missing := {"address", "port"} - found.keys():
            required = {name: ["This field is required."] for name in sorted(missing)}
            raise serializers.ValidationError(required, code="required")
        return OriginData(**found)


class ScopedServers(serializers.PrimaryKeyRelatedField[Server]):
    """Ids of servers of this account; those of others do not exist."""

    def get_queryset(self) -> Any:
        return Server.objects.all()


@extend_schema_field(OpenApiTypes.UUID)
class ScopedDomain(serializers.PrimaryKeyRelatedField[Domain]):
    """Id of a domain of this account; those of others do not exist."""

    def get_queryset(self) -> Any:
        return Domain.objects.all()


@extend_schema_field({"$ref": "#/components/schemas/Traffic"})
class TrafficField(serializers.JSONField):
    """Traffic settings; all of them are shown, and those that a change does not name stay."""

    def to_representation(self, value: Any) -> Any:
        return traffic.shown(traffic.parsed(value))


class CertificateSerializer(serializers.ModelSerializer[Certificate]):
    """The certificate on one server, as it last reported it."""

    class Meta:
        model = Certificate
        fields = ("server", "status", "reason", "expires_at", "changed_at")
        read_only_fields = fields


class RolloutSerializer(serializers.ModelSerializer[Rollout]):
    """A staged change: `first` is the server that has it already."""

    class Meta:
        model = Rollout
        fields = ("state", "reason", "first", "applied_at", "created_at")
        read_only_fields = fields


class DomainSerializer(serializers.ModelSerializer[Domain]):
    """A protected hostname with its origins and its servers in order (the first is the primary)."""

    hostname = serializers.CharField(max_length=300, trim_whitespace=False)
    origins = OriginSerializer(many=True)
    servers = ScopedServers(many=True)
    traffic = TrafficField(required=False)
    certificates = CertificateSerializer(many=True, read_only=True)
    open_rollout = serializers.SerializerMethodField(help_text="A staged change that waits or was stopped, or null.")
    inactive = serializers.SerializerMethodField(
        help_text="Parts without effect while TLS is passed through: no request is seen, so only IP lists hold."
    )
    policy = serializers.PrimaryKeyRelatedField(read_only=True, help_text="Id of its WAF policy.")  # type: ignore[var-annotated]

    class Meta:
        model = Domain
        fields = (
            "id",
            "hostname",
            "origins",
            "servers",
            "traffic",
            "certificate",
            "certificates",
            "rollout",
            "open_rollout",
            "inactive",
            "policy",
            "created_at",
        )
        read_only_fields = ("id", "created_at")

    def get_inactive(self, instance: Domain) -> list[str]:
        """Return the names of those parts."""
        return inactive(instance)

    @extend_schema_field(RolloutSerializer(allow_null=True))
    def get_open_rollout(self, instance: Domain) -> Any:
        """Return it from rows that the view has prefetched."""
        found = next((row for row in instance.rollouts.all() if row.state != RolloutState.DONE), None)
        return None if found is None else RolloutSerializer(found).data

    def to_representation(self, instance: Domain) -> dict[str, Any]:
        """Keep the order of the assignment, from rows that the view has prefetched."""
        shown = super().to_representation(instance)
        shown["servers"] = [str(a.server_id) for a in instance.assignments.all()]
        return shown


class RecipientSerializer(serializers.Serializer[Any]):
    """A server that a private key can be sealed to."""

    server = serializers.UUIDField()
    name = serializers.CharField()
    sealing_key = serializers.CharField(help_text="Uncompressed P-256 point, base64; empty before its agent connects.")


class SealedKeySerializer(serializers.Serializer[Any]):
    """A private key (PEM) sealed to one server, in base64."""

    server = serializers.UUIDField()
    sealed_key = serializers.CharField(max_length=32_768)


class UploadSerializer(serializers.Serializer[Any]):
    """A certificate chain (PEM) and its private key, sealed once for each server of the domain."""

    chain = serializers.CharField(max_length=65_536)
    keys = SealedKeySerializer(many=True)


class PresetSerializer(serializers.Serializer[Any]):
    """The name of a preset."""

    preset = serializers.ChoiceField(choices=[(name, preset.title) for name, preset in PRESETS.items()])


class CloneSerializer(serializers.Serializer[Any]):
    """Which settings to take over, and from which domain."""

    parts = serializers.MultipleChoiceField(choices=Part.choices, allow_empty=False)

    def get_fields(self) -> dict[str, Any]:
        """Add `from`, which Python has as a keyword."""
        return {"from": ScopedDomain(), **super().get_fields()}
