"""What shields told about a domain besides single events: attacks, and how often custom rules held."""

from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantModel
from domains.models import Domain
from servers.models import Server


class AttackReason(models.TextChoices):
    """What gave an attack away."""

    REQUESTS = "requests", "Many more requests than usual"
    ERRORS = "errors", "Most requests ended in errors"
    CHALLENGES = "challenges", "Most visitors failed the bot check"


class Attack(TenantModel):
    """An attack on a domain as one shield saw it; `ended_at` is None while it goes on.

    The rates are per second: of the moment when it was noticed, of the time before (`normal`), and the highest
    (`peak`). The shield repeats what goes on: `told_at` is when it did so last. `is_checked`: every visitor had to pass
    the bot check.
    """

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="attacks")
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField()
    reason = models.CharField(max_length=12, choices=AttackReason.choices)
    is_checked = models.BooleanField(default=False)
    requests = models.FloatField(default=0)
    normal = models.FloatField(default=0)
    peak = models.FloatField(default=0)
    errors = models.FloatField(default=0)
    challenges = models.FloatField(default=0)

    class Meta(TenantModel.Meta):
        ordering = ["-began_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["server", "domain", "began_at"], name="attack_once_per_begin")]
        indexes = [
            models.Index(fields=["account", "-began_at"]),
            models.Index(fields=["account", "told_at"], condition=Q(ended_at=None), name="attacks_that_go_on"),
        ]

    def __str__(self) -> str:
        return f"attack on {self.domain} at {self.server}"


class RuleHits(TenantModel):
    """For how many requests of one day (UTC) a custom rule held.

    `rule` is the id of a custom rule, which may be gone or come back.
    """

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+")
    rule = models.UUIDField()
    day = models.DateField()
    hits = models.PositiveBigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["domain", "rule", "day"], name="rule_hits_once_per_day")]
        indexes = [models.Index(fields=["day"])]

    def __str__(self) -> str:
        return f"{self.rule} on {self.day}: {self.hits}"
