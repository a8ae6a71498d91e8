"""How shields do: what vantage points see of them, the verdict, and its history."""

from typing import Any

from django.db import models

from accounts.tenancy import TenantModel
from lumos.secrets import SecretField


class ShieldState(models.TextChoices):
    """The verdict on a shield (`lumos_agent.verdict`)."""

    UP = "up", "Up"
    DEGRADED = "degraded", "Degraded"
    DOWN = "down", "Down"
    UNKNOWN = "unknown", "Unknown"


class ProbeKey(TenantModel):
    """With what a shield proves itself to probes; those who probe it know the key as well."""

    server = models.OneToOneField("servers.Server", on_delete=models.CASCADE, related_name="+")
    key: Any = SecretField()

    def __str__(self) -> str:
        return f"probe key of {self.server_id}"


class Sight(TenantModel):
    """What a vantage point (another shield; none: the control plane) sees of one address of a shield.

    `is_ok` is settled, None before that; `against` counts newer probes of the control plane that disagree.
    """

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="sights")
    vantage = models.ForeignKey("servers.Server", null=True, on_delete=models.CASCADE, related_name="+")
    address = models.GenericIPAddressField()
    is_ok = models.BooleanField(null=True)
    against = models.PositiveSmallIntegerField(default=0)
    reason = models.CharField(max_length=300, blank=True)
    seconds = models.FloatField(default=0.0)
    since = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["server", "address", "vantage"]
        constraints = [
            models.UniqueConstraint(fields=["server", "vantage", "address"], name="sight_once_per_vantage"),
            models.UniqueConstraint(
                fields=["server", "address"], condition=models.Q(vantage=None), name="sight_once_for_lumos"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.address} from {self.vantage_id or 'Lumos'}"


class ProbeRound(models.Model):
    """One row: the control plane's last round of probes, over all accounts."""

    at = models.DateTimeField()
    probed = models.PositiveIntegerField()
    reached = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.reached} of {self.probed} at {self.at}"


class ServerVerdict(TenantModel):
    """The present verdict. Visitors are served without a break since `serves_since`, None while they are not."""

    server = models.OneToOneField("servers.Server", on_delete=models.CASCADE, related_name="verdict")
    state = models.CharField(max_length=10, choices=ShieldState.choices, default=ShieldState.UNKNOWN)
    reasons = models.JSONField(default=list)
    down_addresses = models.JSONField(default=list)
    since = models.DateTimeField()
    serves_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.server_id}: {self.state}"


class VerdictChange(TenantModel):
    """A verdict that was another one before, with its reasons at that moment."""

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="verdict_changes")
    state = models.CharField(max_length=10, choices=ShieldState.choices)
    reasons = models.JSONField(default=list)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["server", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.server_id}: {self.state}"
