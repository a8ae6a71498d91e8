"""Shapes of zones and records in the API."""

from typing import Any, get_args

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from domains.dnssec_status import State, signers_of
from domains.serializers import ScopedServers
from domains.zone_file import TEXT_MAX, ImportMode
from domains.zone_models import TTL_MAX, TTL_MIN, WEIGHT_MAX, RecordType, Zone, ZoneRecord


@extend_schema_field(OpenApiTypes.UUID)
class ScopedZone(serializers.PrimaryKeyRelatedField[Zone]):
    """Id of a zone of this account; those of others do not exist."""

    def get_queryset(self) -> Any:
        return Zone.objects.all()


class NameserverSerializer(serializers.Serializer[Any]):
    """A shield that serves the zone, under its name there."""

    server = serializers.UUIDField(source="server_id")
    name = serializers.SerializerMethodField()
    public_ipv4 = serializers.IPAddressField(source="server.public_ipv4", allow_null=True)
    public_ipv6 = serializers.IPAddressField(source="server.public_ipv6", allow_null=True)

    is_named = serializers.BooleanField(source="is_listed", help_text="Whether the zone names it among its servers.")

    def get_name(self, row: Any) -> str:
        """Return what to enter at the registrar."""
        return f"ns{row.number}.{row.zone.name}"


class SignerSerializer(serializers.Serializer[Any]):
    """A shield that signs the zone with a key of its own.

    `ds` is the DS record to enter at the registrar; it is empty until every shield publishes the keys of all.
    """

    server = serializers.UUIDField(source="row.server_id")
    state = serializers.ChoiceField(choices=get_args(State))
    ds = serializers.CharField(allow_blank=True)


class SigningSerializer(serializers.Serializer[Any]):
    """Whether a zone is to be signed."""

    signed = serializers.BooleanField()
    anyway = serializers.BooleanField(
        default=False, help_text="Sign no longer although resolvers may know a DS: those that validate refuse the zone."
    )


class ZoneSerializer(serializers.ModelSerializer[Zone]):
    """A DNS zone that shields serve. Enter `nameservers`, names and addresses, at your registrar."""

    name = serializers.CharField(max_length=300, trim_whitespace=False)
    servers = ScopedServers(many=True)
    nameservers = NameserverSerializer(many=True, read_only=True)
    signers = serializers.SerializerMethodField()

    class Meta:
        model = Zone
        fields = ("id", "name", "servers", "nameservers", "serial", "dnssec", "signers", "created_at")
        read_only_fields = ("id", "serial", "dnssec", "created_at")
        validators = ()  # the service tells of a duplicate, as 409

    @extend_schema_field(SignerSerializer(many=True))
    def get_signers(self, zone: Zone) -> Any:
        """Return the shields that sign the zone; none if it is not signed."""
        return SignerSerializer(signers_of(zone), many=True).data

    def validate_name(self, name: str) -> str:
        """Keep a zone's name."""
        if self.instance is not None and name != self.instance.name:
            raise serializers.ValidationError("A zone keeps its name; add another zone instead.")
        return name


_DATA = """In presentation form. A text may be written without quotes, whatever its length. A name without a final dot
that has a dot in it is meant absolute, one without any is in the zone. ALIAS has a name; PROXIED has `all` or `first`,
which of the shields of the domain with this name are answered."""


class RecordSerializer(serializers.ModelSerializer[ZoneRecord]):
    """A record of a zone. Records of one name and type have one TTL: that of the last change."""

    zone = ScopedZone()
    name = serializers.CharField(max_length=300, help_text="Relative to the zone; @ is the zone itself.")
    type = serializers.ChoiceField(choices=RecordType.choices)
    data = serializers.CharField(max_length=20_000, help_text=_DATA)  # type: ignore[assignment]
    ttl = serializers.IntegerField(min_value=TTL_MIN, max_value=TTL_MAX, default=300)
    place = serializers.CharField(
        max_length=40,
        allow_blank=True,
        default="",
        help_text="country:DE or continent:EU: only clients there get it; empty: everybody else.",
    )
    weight = serializers.IntegerField(
        min_value=0,
        max_value=WEIGHT_MAX,
        default=0,
        help_text="With weights an answer is one record of the set, as often as its weight says.",
    )
    server = ScopedServers(required=False, allow_null=True, help_text="For proxied names: this shield only.")

    class Meta:
        model = ZoneRecord
        fields = ("id", "zone", "name", "type", "data", "ttl", "place", "weight", "server", "created_at")
        read_only_fields = ("id", "created_at")

    def validate_zone(self, zone: Zone) -> Zone:
        """Keep a record where it is."""
        if self.instance is not None and zone.pk != self.instance.zone_id:
            raise serializers.ValidationError("A record stays in its zone; add one to the other zone.")
        return zone


class ZoneImportSerializer(serializers.Serializer[Any]):
    """A zone file. Its SOA and the NS of the zone itself are left out: Lumos says these."""

    text = serializers.CharField(max_length=TEXT_MAX, trim_whitespace=False, allow_blank=True)
    mode = serializers.ChoiceField(choices=ImportMode.choices, default=ImportMode.ADD)
    dry_run = serializers.BooleanField(default=False, help_text="Only say what would be done.")


class RefusedSerializer(serializers.Serializer[Any]):
    """A record that is left out, and why."""

    record = serializers.CharField()
    message = serializers.CharField()


class ZoneImportedSerializer(serializers.Serializer[Any]):
    """What an import did, or would do."""

    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    kept = serializers.IntegerField()
    refused = RefusedSerializer(many=True)


class AskedSerializer(serializers.Serializer[Any]):
    """What a name server said at one of its addresses; `problem` is empty if all is well."""

    name = serializers.CharField()
    address = serializers.CharField()
    serial = serializers.IntegerField(allow_null=True)
    problem = serializers.CharField(allow_blank=True)


class DelegationSerializer(serializers.Serializer[Any]):
    """Whether the world finds a zone: name servers as they should be entered at the registrar, and as they are."""

    is_right = serializers.BooleanField()
    expected = serializers.ListField(child=serializers.CharField())
    found = serializers.ListField(child=serializers.CharField())
    problems = serializers.ListField(child=serializers.CharField())
    servers = AskedSerializer(many=True)
