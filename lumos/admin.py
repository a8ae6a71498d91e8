"""The operator's page of periodic jobs."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from lumos import jobs
from lumos.models import JobRow


@admin.register(JobRow)
class JobAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """When each job ran last, for how long, with what result, and when it is due."""

    list_display = ("name", "state", "started_at", "duration", "result", "error", "next_due_at", "runs", "failures")

    @admin.display(description="state")
    def state(self, row: JobRow) -> str:
        """Return ok, running, or what the trouble is."""
        found = {trouble.name: trouble.what for trouble in jobs.troubles(timezone.now())}
        return found.get(row.name) or ("running" if row.token else "ok" if row.finished_at else "never ran")

    @admin.display(description="duration")
    def duration(self, row: JobRow) -> str:
        """Return the last run's duration."""
        return "" if row.duration_ms is None else f"{row.duration_ms:,} ms"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
