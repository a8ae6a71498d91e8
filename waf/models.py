"""WAF policies, IP lists, and the requests that they stopped."""

from typing import Any

from django.db import models
from django.db.models import Q

from accounts.models import User
from accounts.tenancy import TenantModel
from domains.models import Domain
from lumos_agent.schema import ACCOUNT_WIDE, bucket_of
from servers.models import Server
from waf.records import Attack, AttackReason, RuleHits

__all__ = ["Attack", "AttackReason", "RuleHits"]


class Mode(models.TextChoices):
    """What happens to a request that the policy objects to."""

    OFF = "off", "Off"
    DETECT = "detect", "Detect only"
    BLOCK = "block", "Block"


class Level(models.TextChoices):
    """How little it takes for the attack patterns to object."""

    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"


class Policy(TenantModel):
    """The WAF settings of one domain."""

    domain = models.OneToOneField(Domain, on_delete=models.CASCADE, related_name="policy")
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.BLOCK)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.MEDIUM)
    # {group: mode}, of the groups that have a mode of their own.
    groups = models.JSONField(default=dict, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"policy of {self.domain}"


class Exclusion(TenantModel):
    """Findings that do not count: of a rule or group, below a path, in a parameter; what is empty is any."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="exclusions")
    rule = models.CharField(max_length=48, blank=True)
    path = models.CharField(max_length=128, blank=True)
    parameter = models.CharField(max_length=64, blank=True)
    note = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["domain", "rule", "path", "parameter"], name="exclusion_once_per_domain"),
        ]

    def __str__(self) -> str:
        what = [self.rule or "every rule", f"below {self.path}" if self.path else ""]
        return " ".join([*filter(None, what), *([f"in parameter {self.parameter}"] if self.parameter else [])])


class RuleAction(models.TextChoices):
    """What a custom rule does."""

    ALLOW = "allow", "Allow"
    BLOCK = "block", "Block"
    CHALLENGE = "challenge", "Check the browser"
    LIMIT = "limit", "Limit requests"
    LOG = "log", "Log"


WINDOWS = ((10, "10 seconds"), (60, "minute"), (600, "10 minutes"), (3600, "hour"))


class CustomRule(TenantModel):
    """What happens to requests for which a condition holds; rules are asked in the order of their positions.

    `requests` within `window_seconds` are what a rule with the action limit lets pass; others have 0.
    """

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="custom_rules")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    expression = models.CharField(max_length=2000)
    action = models.CharField(max_length=10, choices=RuleAction.choices)
    requests = models.PositiveIntegerField(default=0)
    window_seconds = models.PositiveSmallIntegerField(choices=WINDOWS, default=60)
    enabled = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["position", "created_at", "pk"]

    def __str__(self) -> str:
        return self.name

    @property
    def event_name(self) -> str:
        """How events name it."""
        return f"rule:{self.pk}"


class ListKind(models.TextChoices):
    """Which list an entry is on; allow wins over deny."""

    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class Source(models.TextChoices):
    """How an entry came onto its list."""

    HAND = "hand", "By hand"
    IMPORT = "import", "Import"
    SUBSCRIPTION = "subscription", "Subscription"
    BAN = "ban", "Ban"


class BucketField(models.PositiveSmallIntegerField):  # type: ignore[type-arg]
    """The listing of a snapshot that the row's network belongs to."""

    def pre_save(self, model_instance: models.Model, add: bool) -> int:
        """Compute it whenever the row is written."""
        bucket = bucket_of(model_instance.network)  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, bucket)
        return bucket


class ListSubscription(TenantModel):
    """A list that somebody else publishes at a URL; its entries follow what the URL says.

    `domain` is None for a list of all domains. `interval_hours` lie between two fetches; `error` is empty when the last
    one went well, and `etag` and `content_hash` are of the content that the entries are of.
    """

    domain = models.ForeignKey(Domain, null=True, blank=True, on_delete=models.CASCADE, related_name="subscriptions")
    kind = models.CharField(max_length=10, choices=ListKind.choices)
    url = models.URLField(max_length=500)
    interval_hours = models.PositiveSmallIntegerField(default=24)
    next_fetch_at = models.DateTimeField(db_index=True)
    fetched_at = models.DateTimeField(null=True, editable=False)
    error = models.CharField(max_length=300, blank=True, editable=False)
    etag = models.CharField(max_length=200, blank=True, editable=False)
    content_hash = models.CharField(max_length=64, blank=True, editable=False)
    entries_count = models.PositiveIntegerField(default=0, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.url


class ListEntry(TenantModel):
    """An address, network, ASN, country or part of a user agent on an allow or deny list, in canonical form.

    `domain` is None on the lists of all domains. Each subscription keeps entries of its own, so the same network may
    be on a list twice; the shields see it once.
    """

    domain = models.ForeignKey(Domain, null=True, blank=True, on_delete=models.CASCADE, related_name="list_entries")
    kind = models.CharField(max_length=10, choices=ListKind.choices)
    network = models.CharField(max_length=80)
    bucket = BucketField(editable=False)
    note = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=12, choices=Source.choices, default=Source.HAND)
    subscription = models.ForeignKey(
        ListSubscription, null=True, blank=True, on_delete=models.CASCADE, related_name="entries"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    added_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["domain", "kind", "network"],
                condition=Q(subscription=None, domain__isnull=False),
                name="network_once_per_list",
            ),
            models.UniqueConstraint(
                fields=["account", "kind", "network"],
                condition=Q(subscription=None, domain=None),
                name="network_once_per_account_list",
            ),
            models.UniqueConstraint(fields=["subscription", "network"], name="network_once_per_subscription"),
        ]
        indexes = [
            models.Index(fields=["domain", "bucket"]),
            models.Index(fields=["account", "bucket"], condition=Q(domain=None), name="account_lists_by_bucket"),
            models.Index(fields=["account", "-created_at", "-id"], name="entries_newest_first"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="entries_that_expire"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.network}"

    @property
    def touches(self) -> str:
        """The listing that a change of this entry changes."""
        return touched_listing(self.domain_id, self.network)


def touched_listing(domain_id: Any, network: str) -> str:
    """Return the listing ("scope/bucket") that an entry of a domain, or of all (None), belongs to."""
    return f"{domain_id or ACCOUNT_WIDE}/{bucket_of(network)}"


class Event(TenantModel):
    """One request that was blocked, or would have been (`detect`)."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+")
    time = models.DateTimeField()
    request_id = models.CharField(max_length=64)
    client = models.GenericIPAddressField()
    # By the shield's databases: "" and 0 where they do not say.
    country = models.CharField(max_length=2, blank=True)
    asn = models.PositiveBigIntegerField(default=0)
    method = models.CharField(max_length=32)
    host = models.CharField(max_length=255)
    path = models.TextField()
    query = models.TextField(blank=True)
    user_agent = models.TextField(blank=True)
    rules = models.JSONField(default=list)
    score = models.PositiveIntegerField(default=0)
    matched = models.TextField(blank=True)
    # Where the decisive finding was: "place" or "place:name", such as query:q.
    place = models.TextField(blank=True)
    action = models.CharField(max_length=10)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["account", "-created_at"]),
            models.Index(fields=["domain", "-created_at"]),
            models.Index(fields=["server", "-created_at"]),
            models.Index(fields=["created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.client} {self.host}{self.path}"


class Guard(TenantModel):
    """Rate rules and bot check of one domain (`lumos_agent.guard.Guard`, what differs from the defaults)."""

    domain = models.OneToOneField(Domain, on_delete=models.CASCADE, related_name="guard")
    settings = models.JSONField(default=dict)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"guard of {self.domain}"


class AccountGuard(TenantModel):
    """The account's own switch; an account has one row at most."""

    under_attack = models.BooleanField(default=False)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["account"], name="one_guard_per_account")]

    def __str__(self) -> str:
        return "under attack" if self.under_attack else "calm"


class EventCount(models.Model):
    """Events of one server on one day (UTC): stored ones, and those beyond the cap, counted only."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    stored = models.PositiveIntegerField(default=0)
    counted = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["server", "day"], name="one_event_count_per_day")]

    def __str__(self) -> str:
        return f"{self.day}: {self.stored} + {self.counted}"


class ScriptFails(models.TextChoices):
    """What a request gets when the script fails."""

    OPEN = "open", "Let the request pass"
    CLOSED = "closed", "Answer 500"


class Script(TenantModel):
    """The customer's own Lua of one domain; a domain without a row has none."""

    domain = models.OneToOneField(Domain, on_delete=models.CASCADE, related_name="script")
    enabled = models.BooleanField(default=False)
    fails = models.CharField(max_length=10, choices=ScriptFails.choices, default=ScriptFails.OPEN)
    source = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"script of {self.domain}"
