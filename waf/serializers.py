"""Shapes of policies, list entries and events in the API."""

from typing import Any

from rest_framework import serializers

from domains.serializers import ScopedDomain
from waf.list_import import ImportMode
from waf.models import Event, ListEntry, ListKind, ListSubscription, Policy

IMPORT_CHARACTERS_MAX = 6 * 1024 * 1024


class PolicySerializer(serializers.ModelSerializer[Policy]):
    """The WAF settings of one domain."""

    class Meta:
        model = Policy
        fields = ("id", "domain", "mode", "level", "created_at")
        read_only_fields = ("id", "domain", "created_at")


_CONFIRM = "Deny entries that contain the address of this request are refused unless this is true."


class ListEntrySerializer(serializers.ModelSerializer[ListEntry]):
    """An entry on an allow or deny list; entries are added and removed, never edited."""

    domain = ScopedDomain(allow_null=True, help_text="Null: the lists of all domains.")
    kind = serializers.ChoiceField(choices=ListKind.choices)
    network = serializers.CharField(
        max_length=80,
        trim_whitespace=False,
        help_text="IPv4 or IPv6 address or CIDR network; or AS64500, country:DE, agent:part-of-a-user-agent. Countries "
        "that are allowed are the only ones that get in; an agent that is allowed is spared from denied agents.",
    )
    added_by = serializers.EmailField(source="added_by.email", read_only=True, default=None)
    confirm_self_lockout = serializers.BooleanField(write_only=True, default=False, help_text=_CONFIRM)

    class Meta:
        model = ListEntry
        fields = (
            "id", "domain", "kind", "network", "note", "source", "subscription", "expires_at", "added_by", "created_at",
            "confirm_self_lockout",
        )  # fmt: skip
        read_only_fields = ("id", "source", "subscription", "created_at")
        validators = ()  # the service tells of a duplicate, as 409


class ListImportSerializer(serializers.Serializer[Any]):
    """A list as text: one entry a line, `#` begins a comment, `a-b` is a range of addresses."""

    domain = ScopedDomain(allow_null=True, help_text="Null: the lists of all domains.")
    kind = serializers.ChoiceField(choices=ListKind.choices)
    text = serializers.CharField(trim_whitespace=False, max_length=IMPORT_CHARACTERS_MAX, allow_blank=True)
    mode = serializers.ChoiceField(choices=ImportMode.choices, default=ImportMode.ADD)
    note = serializers.CharField(max_length=200, default="", allow_blank=True)
    expires_at = serializers.DateTimeField(default=None, allow_null=True)
    dry_run = serializers.BooleanField(default=False, help_text="Only count, and name the lines that are no entries.")
    confirm_self_lockout = serializers.BooleanField(default=False, help_text=_CONFIRM)


class LineErrorSerializer(serializers.Serializer[Any]):
    """A line that is no entry."""

    line = serializers.IntegerField()
    text = serializers.CharField()
    message = serializers.CharField()


class ListImportedSerializer(serializers.Serializer[Any]):
    """What an import did, or would do."""

    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    kept = serializers.IntegerField(help_text="How many were there already.")
    errors = LineErrorSerializer(many=True)  # type: ignore[assignment]


class SubscriptionSerializer(serializers.ModelSerializer[ListSubscription]):
    """A list that is fetched from a URL, again and again; `error` says why the last time failed."""

    domain = ScopedDomain(allow_null=True, help_text="Null: the lists of all domains.")
    kind = serializers.ChoiceField(choices=ListKind.choices)
    url = serializers.CharField(max_length=500)
    interval_hours = serializers.IntegerField(min_value=1, max_value=720, default=24)

    class Meta:
        model = ListSubscription
        fields = (
            "id", "domain", "kind", "url", "interval_hours", "entries_count", "fetched_at", "next_fetch_at", "error",
            "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "entries_count", "fetched_at", "next_fetch_at", "error", "created_at")


class WafSettingsSerializer(serializers.Serializer[Any]):
    """What holds for the WAF of the whole account."""

    share_bans = serializers.BooleanField(help_text="A client that one shield bans is denied by all of them.")


class EventSerializer(serializers.ModelSerializer[Event]):
    """A request that was blocked, or would have been (`detect`)."""

    class Meta:
        model = Event
        fields = (
            "id", "time", "server", "domain", "action", "client", "method", "host", "path", "query", "user_agent",
            "rules", "score", "matched", "request_id", "created_at",
        )  # fmt: skip
