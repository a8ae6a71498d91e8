"""The audit log: who changed what, from where, before and after."""

import json
import uuid
from collections.abc import Iterable, Iterator

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render

from accounts.filters import AuditFilter
from accounts.models import AuditEntry
from accounts.pages import PageRequest, page
from accounts.roles import Action, Thing
from lumos.listing import csv_lines, slice_after

PAGE_SIZE = 50
CSV_COLUMNS = ("time", "actor", "via", "address", "action", "object_type", "object_id", "object", "changes")


@page(Action.ADMIN, Thing.AUDIT)
def audit_log(request: PageRequest) -> HttpResponse:
    """Show the entries, newest first."""
    found = AuditFilter(request.GET, AuditEntry.objects.select_related("actor"))
    rows = slice_after(found.qs, request.GET.get("cursor", ""), PAGE_SIZE)
    context = {"entries": rows.rows, "older": rows.older, "filter": found, "query": request.GET}
    return render(request, "accounts/audit.html", context)


@page(Action.ADMIN, Thing.AUDIT)
def audit_csv(request: PageRequest) -> HttpResponseBase:
    """The entries that the filters leave, as a download."""
    found = AuditFilter(request.GET, AuditEntry.objects.select_related("actor"))
    if not found.is_valid():
        return audit_log(request)
    lines = entry_lines(found.qs, request.account.pk)
    headers = {"Content-Disposition": 'attachment; filename="lumos-audit.csv"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def entry_lines(entries: QuerySet[AuditEntry], account_id: uuid.UUID) -> Iterator[str]:
    """Yield the CSV of entries."""
    return csv_lines(entries, CSV_COLUMNS, _cells, account_id)


def _cells(entry: AuditEntry) -> Iterable[str]:
    return (
        entry.created_at.isoformat(),
        entry.actor.email if entry.actor else "",
        entry.via,
        entry.address or "",
        entry.action,
        entry.object_type,
        entry.object_id,
        entry.object_label,
        json.dumps(entry.changes, sort_keys=True),
    )
