"""Shapes of policies, list entries and events in the API."""

from typing import Any

from rest_framework import serializers

from domains.models import Domain
from domains.serializers import ScopedDomain
from lumos_agent.conditions import EXPRESSION_MAX
from waf.custom_rules import LANGUAGE
from waf.list_import import ImportMode
from waf.models import CustomRule, Event, Exclusion, ListEntry, ListKind, ListSubscription, Mode, Policy

IMPORT_CHARACTERS_MAX = 6 * 1024 * 1024


class PolicySerializer(serializers.ModelSerializer[Policy]):
    """The WAF settings of one domain."""

    groups = serializers.DictField(
        child=serializers.ChoiceField(choices=Mode.choices),
        required=False,
        help_text="{group: mode} of all rule groups with a mode of their own; GET /waf-rules lists the groups.",
    )

    class Meta:
        model = Policy
        fields = ("id", "domain", "mode", "level", "groups", "created_at")
        read_only_fields = ("id", "domain", "created_at")


_CONFIRM = "Deny entries that contain the address of this request are refused unless this is true."


class ExclusionSerializer(serializers.ModelSerializer[Exclusion]):
    """Findings that do not count; exclusions are added and removed, never edited. What is empty is any."""

    domain = ScopedDomain()
    rule = serializers.CharField(
        required=False, allow_blank=True, max_length=48, help_text="A rule or a group of rules."
    )
    path = serializers.CharField(
        required=False, allow_blank=True, max_length=128, help_text="A path and all below it, decoded."
    )
    parameter = serializers.CharField(
        required=False, allow_blank=True, max_length=64, help_text="A parameter, cookie, header or field of a form."
    )
    created_by = serializers.EmailField(source="created_by.email", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Exclusion
        fields = ("id", "domain", "rule", "path", "parameter", "note", "created_by", "created_at")
        read_only_fields = ("id", "created_at")
        validators = ()  # the service tells of a duplicate, as 409


class EventSerializer(serializers.ModelSerializer[Event]):
    """A request that was blocked, or would have been (`detect`); without a database, country is empty and asn 0."""

    class Meta:
        model = Event
        fields = (
            "id", "time", "server", "domain", "action", "client", "country", "asn", "method", "host", "path", "query",
            "user_agent", "rules", "score", "matched", "place", "request_id", "created_at",
        )  # fmt: skip


class CustomRuleSerializer(serializers.ModelSerializer[CustomRule]):
    """What happens to requests for which a condition holds.

    Example: `path starts_with "/admin" and not ip in_cidr "192.0.2.0/24"`. Rules are asked by position; the first that
    decides ends the list; only log goes on. A rule with the action limit needs `requests`; a client that sends more
    of them within `window_seconds` gets 429.
    """

    domain = ScopedDomain()
    expression = serializers.CharField(max_length=EXPRESSION_MAX, help_text=LANGUAGE)
    position = serializers.IntegerField(required=False, min_value=0, max_value=32_767)
    requests = serializers.IntegerField(required=False, min_value=0, max_value=100_000)
    hits_today = serializers.IntegerField(read_only=True, default=0)
    hits_30_days = serializers.IntegerField(
        read_only=True, default=0, help_text="Requests for which the rule held, whatever became of them."
    )

    class Meta:
        model = CustomRule
        fields = (
            "id", "domain", "position", "name", "expression", "action", "requests", "window_seconds", "enabled",
            "expires_at", "hits_today", "hits_30_days", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "created_at")

    def validate_domain(self, domain: Domain) -> Domain:
        """Keep a rule where it is."""
        if self.instance is not None and domain.pk != self.instance.domain_id:
            raise serializers.ValidationError("A rule stays with its domain; add one to the other domain.")
        return domain


class DryRunRequestSerializer(serializers.Serializer[Any]):
    """A condition to try on the events of the last hour."""

    domain = ScopedDomain()
    expression = serializers.CharField(max_length=EXPRESSION_MAX)


class DryRunSerializer(serializers.Serializer[Any]):
    """For how many of the stored events of the last hour a condition would have held, and some of them."""

    events = serializers.IntegerField()
    matching = serializers.IntegerField()
    examples = EventSerializer(many=True)


class TrialRequestSerializer(serializers.Serializer[Any]):
    """A request to try: as raw HTTP/1.1, or as method, URL, headers and body."""

    request = serializers.CharField(
        required=False, trim_whitespace=False, help_text="Raw HTTP/1.1 request; excludes the other fields."
    )
    method = serializers.RegexField(r"\A[A-Za-z]{1,20}\Z", required=False)
    url = serializers.CharField(required=False, max_length=16_384)
    headers = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    body = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)


class FindingSerializer(serializers.Serializer[Any]):
    """One rule that objects, and to what; `matched` is decoded."""

    rule = serializers.CharField()
    group = serializers.CharField()
    score = serializers.IntegerField()
    why = serializers.CharField()
    place = serializers.CharField()
    name = serializers.CharField()
    matched = serializers.CharField()


class TrialSerializer(serializers.Serializer[Any]):
    """What a shield would do with the request; `threshold` is the score at which the policy's level objects."""

    action = serializers.ChoiceField(choices=("pass", "detect", "block"))
    score = serializers.IntegerField()
    threshold = serializers.IntegerField()
    findings = FindingSerializer(many=True)


class RuleSerializer(serializers.Serializer[Any]):
    """One rule of the engine, and why it objects."""

    id = serializers.CharField()
    score = serializers.IntegerField()
    why = serializers.CharField()


class RuleGroupSerializer(serializers.Serializer[Any]):
    """A group of rules."""

    name = serializers.CharField()
    about = serializers.CharField()
    rules = RuleSerializer(many=True)


class RuleCatalogueSerializer(serializers.Serializer[Any]):
    """All rules, and the score at which each level objects."""

    thresholds = serializers.DictField(child=serializers.IntegerField())
    groups = RuleGroupSerializer(many=True)


class TopSerializer(serializers.Serializer[Any]):
    """The most frequent values of a period: lists of {value, events}."""

    client = serializers.ListField(child=serializers.DictField())
    country = serializers.ListField(child=serializers.DictField())
    asn = serializers.ListField(child=serializers.DictField())
    rule = serializers.ListField(child=serializers.DictField())
    path = serializers.ListField(child=serializers.DictField())
    host = serializers.ListField(child=serializers.DictField())


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
    added_by = serializers.EmailField(source="added_by.email", read_only=True, allow_null=True, default=None)
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
