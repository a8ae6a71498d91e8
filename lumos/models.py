"""Rows of the installation itself."""

from django.db import models


class JobRow(models.Model):
    """A periodic job: who may run it now, and how its last run went. `token` names the run that holds the lease."""

    name = models.CharField(max_length=100, primary_key=True)
    next_due_at = models.DateTimeField()
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    result = models.JSONField(default=dict)
    error = models.CharField(max_length=300, blank=True)
    runs = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = "job"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class OperatorAlert(models.Model):
    """A trouble of the installation that lasts (lumos/alerts.py); its row goes with it. `told_at`: the last mail."""

    name = models.CharField(max_length=150, primary_key=True)
    since = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["since"]

    def __str__(self) -> str:
        return self.name
