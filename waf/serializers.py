"""Shapes of policies, list entries and events in the API."""

from rest_framework import serializers

from domains.serializers import ScopedDomain
from waf.models import Event, ListEntry, ListKind, Policy


class PolicySerializer(serializers.ModelSerializer[Policy]):
    """The WAF settings of one domain."""

    class Meta:
        model = Policy
        fields = ("id", "domain", "mode", "level", "created_at")
        read_only_fields = ("id", "domain", "created_at")


class ListEntrySerializer(serializers.ModelSerializer[ListEntry]):
    """An address or network on the allow or deny list of a domain; entries are added and removed, never edited."""

    domain = ScopedDomain()
    kind = serializers.ChoiceField(choices=ListKind.choices)
    network = serializers.CharField(
        max_length=64, trim_whitespace=False, help_text="IPv4 or IPv6 address or CIDR network."
    )

    class Meta:
        model = ListEntry
        fields = ("id", "domain", "kind", "network", "note", "created_at")
        read_only_fields = ("id", "created_at")
        validators = ()  # the service tells of a duplicate, as 409


class EventSerializer(serializers.ModelSerializer[Event]):
    """A request that was blocked, or would have been (`detect`)."""

    class Meta:
        model = Event
        fields = (
            "id", "time", "server", "domain", "action", "client", "method", "host", "path", "query", "user_agent",
            "rules", "score", "matched", "request_id", "created_at",
        )  # fmt: skip
