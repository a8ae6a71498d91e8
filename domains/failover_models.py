"""How domains fail over: settings, the present answer, its timeline, and the providers that it is published at."""

from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from accounts.tenancy import TenantModel
from lumos.secrets import SecretField
from lumos_agent.failover import GAP_SECONDS, HOLD_DOWN_SECONDS

SECONDS_MAX = 86_400
TTL_MIN, TTL_MAX = 30, 86_400


class ProviderKind(models.TextChoices):
    """Who serves the DNS of a domain that is no zone of Lumos's own."""

    RFC2136 = "rfc2136", "Dynamic updates (RFC 2136) with TSIG"
    CLOUDFLARE = "cloudflare", "Cloudflare"


class DnsProvider(TenantModel):
    """Access to somebody else's name servers. `credential` is a TSIG secret or an API token, never shown again.

    `server`, `port`, `key_name` and `algorithm` are of RFC 2136.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=12, choices=ProviderKind.choices)
    zone = models.CharField(max_length=253)
    server = models.CharField(max_length=253, blank=True)
    port = models.PositiveIntegerField(default=53, validators=[MinValueValidator(1), MaxValueValidator(65535)])
    key_name = models.CharField(max_length=253, blank=True)
    algorithm = models.CharField(max_length=20, default="hmac-sha256")
    credential: Any = SecretField()

    class Meta(TenantModel.Meta):
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="dns_provider_name_once_per_account")]

    def __str__(self) -> str:
        return self.name


class FailoverMode(models.TextChoices):
    """Which shields of a domain its name answers with."""

    ORDERED = "ordered", "The first that serves"
    ALL = "all", "All that serve"
    WEIGHTED = "weighted", "One of those that serve, by weight"


class Publication(models.TextChoices):
    """Where the records at a provider stand."""

    NONE = "none", "not published"
    DUE = "due", "being published"
    DONE = "done", "published"
    FAILED = "failed", "not accepted"


class Failover(TenantModel):
    """One domain's failover, its rule and present answer (`lumos_agent.failover.Rule`).

    `weights`: {server id: how often it is answered, in the mode `weighted`}; who is not named has 100.

    `answered` holds server ids in order. Time alone may change the decision at `due_at`. `published` are the addresses
    that the provider took last.
    """

    domain = models.OneToOneField("domains.Domain", on_delete=models.CASCADE, related_name="failover")
    mode = models.CharField(max_length=10, choices=FailoverMode.choices, default=FailoverMode.ORDERED)
    hold_down_seconds = models.PositiveIntegerField(
        default=HOLD_DOWN_SECONDS, validators=[MaxValueValidator(SECONDS_MAX)]
    )
    gap_seconds = models.PositiveIntegerField(default=GAP_SECONDS, validators=[MaxValueValidator(SECONDS_MAX)])
    provider = models.ForeignKey(DnsProvider, null=True, on_delete=models.PROTECT, related_name="failovers")
    ttl = models.PositiveIntegerField(default=60, validators=[MinValueValidator(TTL_MIN), MaxValueValidator(TTL_MAX)])
    weights = models.JSONField(default=dict)
    preferred = models.ForeignKey("servers.Server", null=True, on_delete=models.SET_NULL, related_name="+")
    is_held = models.BooleanField(default=False)
    drilled = models.ForeignKey("servers.Server", null=True, on_delete=models.SET_NULL, related_name="+")
    drill_until = models.DateTimeField(null=True)
    answered = models.JSONField(default=list)
    addresses = models.JSONField(default=list)
    reason = models.TextField(blank=True)
    changed_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, db_index=True)
    publication = models.CharField(max_length=10, choices=Publication.choices, default=Publication.NONE)
    published = models.JSONField(default=list)
    publish_error = models.CharField(max_length=500, blank=True)
    publish_tries = models.PositiveIntegerField(default=0)
    publish_at = models.DateTimeField(null=True, db_index=True)

    def __str__(self) -> str:
        return f"failover of {self.domain_id}"


class FailoverDecision(TenantModel):
    """A change of what a domain answers. `evidence`: {server: {name, state, reasons}} of that moment."""

    domain = models.ForeignKey("domains.Domain", on_delete=models.CASCADE, related_name="failover_decisions")
    cause = models.CharField(max_length=10)
    reason = models.TextField()
    before = models.JSONField(default=list)
    answered = models.JSONField(default=list)
    addresses = models.JSONField(default=list)
    evidence = models.JSONField(default=dict)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["domain", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.domain_id}: {self.cause}"
