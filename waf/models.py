"""WAF policies, IP lists, and the requests that they stopped."""

from django.db import models

from accounts.models import User
from accounts.tenancy import TenantModel
from domains.models import Domain
from lumos_agent.schema import bucket_of
from servers.models import Server


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
    LOG = "log", "Log"


class CustomRule(TenantModel):
    """What happens to requests for which a condition holds; rules are asked in the order of their positions."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="custom_rules")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    expression = models.CharField(max_length=2000)
    action = models.CharField(max_length=10, choices=RuleAction.choices)
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


class BucketField(models.PositiveSmallIntegerField):  # type: ignore[type-arg]
    """The listing of a snapshot that the row's network belongs to."""

    def pre_save(self, model_instance: models.Model, add: bool) -> int:
        """Compute it whenever the row is written."""
        bucket = bucket_of(model_instance.network)  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, bucket)
        return bucket


class ListEntry(TenantModel):
    """An address or network (canonical CIDR) on a domain's allow or deny list."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="list_entries")
    kind = models.CharField(max_length=10, choices=ListKind.choices)
    network = models.CharField(max_length=43)
    bucket = BucketField(editable=False)
    note = models.CharField(max_length=200, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["domain", "kind", "network"], name="network_once_per_list"),
        ]
        indexes = [models.Index(fields=["domain", "bucket"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.network}"

    @property
    def touches(self) -> str:
        """The listing that a change of this entry changes."""
        return f"{self.domain_id}/{bucket_of(self.network)}"


class Event(TenantModel):
    """One request that was blocked, or would have been (`detect`)."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+")
    time = models.DateTimeField()
    request_id = models.CharField(max_length=64)
    client = models.GenericIPAddressField()
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
