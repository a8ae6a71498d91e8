"""The networks of CDNs as their publishers last told them, for the whole installation."""

from typing import Any

from django.db import models

from lumos_agent.cdns import cdns


class CdnList(models.Model):
    """One CDN's list. `networks` are canonical and sorted, empty before the first fetch that worked.

    `as_of` is the day on which they were first seen, `fetched_at` when the publisher last said the same. `error` says
    why the last try failed. Until `is_pushed`, servers may run what was there before.
    """

    name: Any = models.CharField(max_length=20, primary_key=True)
    networks: Any = models.JSONField(default=list)
    as_of: Any = models.DateField(null=True)
    fetched_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)
    is_pushed = models.BooleanField(default=True)

    class Meta:
        verbose_name = "CDN's networks"
        verbose_name_plural = "CDNs' networks"
        ordering = ["name"]

    def __str__(self) -> str:
        return f"networks of {next((cdn.title for name, cdn in cdns().items() if name == self.name), self.name)}"
