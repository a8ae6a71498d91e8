"""The page that exports, imports and adds in bulk. Each import shows its plan first and is confirmed then."""

from collections.abc import Iterator
from typing import Any

import msgspec
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import ADMIN, WRITE
from domains.bulk import parsed_lines
from domains.config_forms import BulkForm, ImportForm
from domains.config_import import import_config, planned
from domains.config_plan import Plan
from domains.models import Domain
from lumos.errors import AppError
from lumos_agent.document import ConfigDocument

STEPS_SHOWN = 500
FIELD_SHOWN = 300
ERRORS_SHOWN = 100


@page()
def domain_import(request: PageRequest) -> HttpResponse:
    """Export; or import: the plan of a document, and with its digest as `confirm` the import itself."""
    if request.method != "POST":
        return _page(request)
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, form=form)
    prune = form.cleaned_data["prune"]
    if prune and not request.grants.may(ADMIN):
        raise PermissionDenied("Only owners and admins may delete what a document lacks.")
    try:
        document = form.document()
        if confirmed := request.POST.get("confirm"):
            return _imported(request, document, prune, confirmed)
        return _page(request, form=form, **_preview(document, prune=prune))
    except AppError as error:
        form.add_error(None, f"{error.field}: {error.detail}" if error.field else error.detail)
    return _page(request, form=form)


def _imported(request: PageRequest, document: ConfigDocument, prune: bool, confirmed: str) -> HttpResponse:
    try:
        done = import_config(document=document, prune=prune, actor=request.user, expected=confirmed)
    except AppError as error:
        messages.error(request, error.detail)
        return _page(request, **_preview(document, prune=prune))
    messages.success(request, f"Imported: {_counted(done)}.")
    if new := [step.name for step in done.servers if step.before is None]:
        messages.warning(
            request, f"New servers have no agent yet. Rotate the token of each to get its command: {', '.join(new)}"
        )
    return redirect("domains")


@require_POST
@page(WRITE)
def domain_bulk(request: PageRequest) -> HttpResponse:
    """Show the plan of many new domains, or what is wrong with which line."""
    form = BulkForm(request.POST)
    if not form.is_valid():
        return _page(request, bulk=form)
    names = [server.name for server in form.cleaned_data["servers"]]
    taken = frozenset(Domain.objects.values_list("hostname", flat=True))
    document, errors = parsed_lines(form.cleaned_data["lines"], names, taken)
    if errors:
        return _page(request, bulk=form, errors=errors[:ERRORS_SHOWN], hidden_errors=max(len(errors) - ERRORS_SHOWN, 0))
    return _page(request, bulk=form, **_preview(document, prune=False))


def _page(request: HttpRequest, **context: Any) -> HttpResponse:
    return render(request, "domains/import.html", {"form": ImportForm(), "bulk": BulkForm(), **context})


def _preview(document: ConfigDocument, *, prune: bool) -> dict[str, Any]:
    """Return what the template needs to show the plan and to send the document again."""
    found = planned(document, prune=prune)
    rows = list(_rows(found))
    return {
        "plan": found,
        "counted": _counted(found),
        "rows": rows[:STEPS_SHOWN],
        "hidden_rows": max(len(rows) - STEPS_SHOWN, 0),
        "prune": prune,
        "document": msgspec.json.encode(document).decode(),
    }


def _counted(found: Plan) -> str:
    done = {"create": "created", "change": "changed", "delete": "deleted"}
    return ", ".join(f"{len(steps)} {done[kind]}" for kind, steps in found.shown().items() if steps) or "nothing to do"


def _rows(found: Plan) -> Iterator[dict[str, Any]]:
    for kind, steps in found.shown().items():
        for step in steps:
            fields = [(name, _short(before), _short(after)) for name, (before, after) in step["fields"].items()]
            yield {"kind": kind, "what": step["what"], "name": step["name"], "fields": fields}


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:FIELD_SHOWN] + ("…" if len(text) > FIELD_SHOWN else "")
