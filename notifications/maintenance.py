"""Maintenance windows: times in which nothing is told."""

import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import Domain
from lumos.errors import InvalidInput, LimitReached
from notifications.models import MaintenanceWindow
from servers.models import Server

LONGEST = timedelta(days=31)
PLANNED_MAX = 100


def covers(*, server: uuid.UUID | None = None, domain: uuid.UUID | None = None) -> bool:
    """Whether a window of the account is open for a server, a domain, or for everything."""
    now = timezone.now()
    concerned = Q(server=None, domain=None)
    if server is not None:
        concerned |= Q(server_id=server)
    if domain is not None:
        concerned |= Q(domain_id=domain)
    return MaintenanceWindow.objects.filter(concerned, starts_at__lte=now, ends_at__gt=now).exists()


@transaction.atomic
def add_window(
    *,
    starts_at: datetime,
    ends_at: datetime,
    actor: User,
    server: Server | None = None,
    domain: Domain | None = None,
    note: str = "",
) -> MaintenanceWindow:
    """Plan a time in which nothing is told.

    Raises:
        InvalidInput: it is over, too long, or of two things.
        LimitReached: enough are planned.
    """
    if server is not None and domain is not None:
        raise InvalidInput("Choose a server or a domain, or neither for everything.", field="domain")
    if ends_at <= starts_at or ends_at <= timezone.now():
        raise InvalidInput("The end lies before the start or in the past; choose a later end.", field="ends_at")
    if ends_at - starts_at > LONGEST:
        raise InvalidInput(f"A window lasts {LONGEST.days} days at most; choose an earlier end.", field="ends_at")
    if MaintenanceWindow.objects.filter(ends_at__gt=timezone.now()).count() >= PLANNED_MAX:
        raise LimitReached(f"{PLANNED_MAX} windows are planned already; remove one first.")
    row = MaintenanceWindow(
        server=server, domain=domain, starts_at=starts_at, ends_at=ends_at, note=note, created_by=actor
    )
    row.save()
    times = f"{starts_at.isoformat()} to {ends_at.isoformat()}"
    audit.record(actor, audit.Action.MAINTENANCE_ADDED, row, {"window": [None, times]})
    return row


@transaction.atomic
def remove_window(*, window: MaintenanceWindow, actor: User) -> None:
    """End a window, or take it off the plan."""
    times = f"{window.starts_at.isoformat()} to {window.ends_at.isoformat()}"
    audit.record(actor, audit.Action.MAINTENANCE_REMOVED, window, {"window": [times, None]})
    window.delete()
