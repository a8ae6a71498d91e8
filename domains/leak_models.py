"""What the public Internet tells of a domain's origins, as the newest look found it."""

from typing import Any

from django.db import models

from accounts.tenancy import TenantModel


class Clue(models.TextChoices):
    """Where an origin can be found."""

    DIRECT = "direct", "Direct answer"
    DNS = "dns", "DNS"
    MAIL = "mail", "Mail"
    CERTIFICATE = "certificate", "Certificate"


class ClueState(models.TextChoices):
    """What was found there."""

    LEAK = "leak", "leaks"
    HIDDEN = "hidden", "hidden"
    UNKNOWN = "unknown", "could not be asked"


class LeakCheck(TenantModel):
    """One domain's newest look. `findings`: [{clue, state, text}]; the next look is at `due_at`.

    Somebody waits for a look from `asked_at` until `looked_at` is later.
    """

    domain = models.OneToOneField("domains.Domain", on_delete=models.CASCADE, related_name="leak_check")
    asked_at = models.DateTimeField(null=True)
    looked_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(db_index=True)
    findings: Any = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"leak check of {self.domain_id}"

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a look."""
        return self.asked_at is not None and (self.looked_at is None or self.looked_at < self.asked_at)

    @property
    def leaks(self) -> int:
        """Return how many clues lead to an origin."""
        return sum(finding["state"] == ClueState.LEAK for finding in self.findings)

    @property
    def shown(self) -> list[dict[str, str]]:
        """Return the findings with what stands on their badges."""
        return [f | {"label": f"{Clue(f['clue']).label}: {ClueState(f['state']).label}"} for f in self.findings]
