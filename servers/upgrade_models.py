"""An upgrade of the agents of an account, in waves."""

from django.db import models

from accounts.tenancy import TenantModel


class UpgradeState(models.TextChoices):
    """Where an upgrade stands."""

    RUNNING = "running", "Running"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped"


class AgentUpgrade(TenantModel):
    """One server gets a version first, then the others. The servers that were asked name it (`Server.upgrade`)."""

    version = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=UpgradeState.choices, default=UpgradeState.RUNNING)
    reason = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=models.Q(state="running"), name="one_running_upgrade_per_account"
            )
        ]

    def __str__(self) -> str:
        return f"agent {self.version}"
