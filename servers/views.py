"""Pages of servers."""

import re
import uuid
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.forms.models import model_to_dict
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import ADMIN, WRITE
from lumos.errors import AppError
from servers import (
    decommissioning,
    enrolment,
    health,
    history,
    install,
    preview,
    reunion,
    selectors,
    services,
    upgrades,
)
from servers.diff import as_rows
from servers.forms import ServerForm
from servers.models import AgentUpgrade, Server, SnapshotRecord
from servers.restore import restore_snapshot

PAGE_SIZE = 50
HISTORY_SHOWN = 5
ALONE_SHOWN = 20
PREVIEW_LINES = 5_000
DOMAINS_SHOWN = 200
LINES_SHOWN = 50


@page()
def server_list(request: HttpRequest) -> HttpResponse:
    """All shields with live status and apply state, and how their agents are upgraded."""
    version = (install.offered() or ("",))[0]
    context = {
        "servers": selectors.servers_with_domains(),
        "version": version,
        "others": upgrades.others_than(version).count() if version else 0,
        "upgrade": AgentUpgrade.objects.first(),
    }
    return render(request, "servers/list.html", context)


@require_POST
@page(ADMIN)
def agents_upgrade(request: PageRequest) -> HttpResponse:
    """Begin to upgrade all agents, or stop it."""
    try:
        if request.POST.get("do") == "stop":
            upgrades.stop_upgrade(actor=request.user)
        else:
            upgrades.start_upgrade(actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("servers")


def _show_token(request: HttpRequest, server: Server, token: str) -> HttpResponse:
    context = {"server": server, "token": token, "install": enrolment.install_line(token)}
    return render(request, "servers/token.html", context)


@never_cache
@page(WRITE)
def server_add(request: PageRequest) -> HttpResponse:
    """Add a shield; the answer shows its token once."""
    form = ServerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            values: Any = form.values()
            server, token = services.add_server(actor=request.user, **values)
            return _show_token(request, server, token)
        except AppError as error:
            form.show(error)
    return render(request, "servers/form.html", {"form": form})


@page()
def server_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One shield: what it runs, what it said, what it serves."""
    server = get_object_or_404(Server.objects.select_related("verdict"), pk=pk)
    context = {
        "server": server,
        "domains": server.domains.order_by("hostname")[:200],
        "chart": selectors.requests_per_hour(server=server.pk),
        "history": history.records(server)[:HISTORY_SHOWN],
        "found": reunion.found_on(server),
        "sights": health.sights_of(server),
        "verdicts": server.verdict_changes.all()[:HISTORY_SHOWN],
        "alone": services.carried_alone(server)[:ALONE_SHOWN],
        "gone_at": server.decommissioned_at and server.decommissioned_at + decommissioning.GONE_WITHIN,
    }
    return render(request, "servers/detail.html", context)


@page()
def server_history(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """What the shield was to run, by revision; `?revision=` shows its difference to the one before or to `against`."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    context: dict[str, Any] = {
        "server": server,
        "records": Paginator(history.records(server), PAGE_SIZE).get_page(request.GET.get("page")),
    }
    if revision := request.GET.get("revision"):
        try:
            context |= _difference(server, revision, request.GET.get("against"))
        except AppError as error:
            messages.error(request, error.detail)
    return render(request, "servers/history.html", context)


def _difference(server: Server, revision: str, against: str | None) -> dict[str, Any]:
    record = _record(server, revision)
    found = history.compare(record, _record(server, against) if against else history.previous(record))
    rows, hidden = as_rows(found, domains_max=DOMAINS_SHOWN, lines_max=LINES_SHOWN)
    return {"diff": found, "rows": rows, "hidden_domains": hidden}


def _record(server: Server, revision: str) -> SnapshotRecord:
    found = history.records(server).filter(revision=revision).first() if re.fullmatch("[0-9]{1,18}", revision) else None
    if found is None:
        raise Http404
    return found


@require_POST
@page(WRITE)
def server_restore(request: PageRequest, pk: uuid.UUID, revision: int) -> HttpResponse:
    """Roll the shield's domains back to a revision."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    try:
        restored = restore_snapshot(record=_record(server, str(revision)), actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("server-history", pk=pk)
    if restored.revision != server.revision:
        messages.success(request, f"Rolled back to revision {revision}, as revision {restored.revision}.")
    else:
        messages.success(request, f"Nothing to do: the present configuration equals revision {revision}.")
    return redirect("server-history", pk=pk)


@require_POST
@page(WRITE)
def server_reunite(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Decide what counts for a shield that is held back after the database was restored."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    try:
        if request.POST.get("counts") == "shield":
            reunion.take_shields(server=server, actor=request.user)
            messages.success(request, f"The dashboard now shows what {server.name} runs.")
        else:
            reunion.send_dashboards(server=server, actor=request.user)
            messages.success(request, f"What the dashboard shows is sent to {server.name}.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("server", pk=pk)


@page()
def server_preview(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """The haproxy.cfg of the present rows; of a very large one the beginning, the API has it all."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    lines = preview.haproxy_cfg(server).splitlines()
    context = {"server": server, "text": "\n".join(lines[:PREVIEW_LINES]), "hidden": max(len(lines) - PREVIEW_LINES, 0)}
    return render(request, "servers/preview.html", context)


@page(WRITE)
def server_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change name, region and addresses."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    form = ServerForm(request.POST or None, initial=model_to_dict(server, services.EDITABLE))
    if request.method == "POST" and form.is_valid():
        try:
            services.change_server(server=server, actor=request.user, **form.values())
            return redirect("server", pk=pk)
        except AppError as error:
            form.show(error)
    return render(request, "servers/form.html", {"form": form, "server": server})


@never_cache
@require_POST
@page(ADMIN)
def server_rotate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Replace the token and show the new one once."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    return _show_token(request, server, enrolment.rotate_token(server=server, actor=request.user))


@require_POST
@page(ADMIN)
def server_decommission(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Take a shield out of service for good; the question before named the domains that only it carries."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    try:
        force = request.POST.get("force") == "on"
        decommissioning.decommission_server(server=server, actor=request.user, force=force)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("server", pk=pk)


@require_POST
@page(ADMIN)
def server_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Remove a shield from the account."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    try:
        services.remove_server(server=server, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("server", pk=pk)
    messages.success(request, f"{server.name} was removed.")
    return redirect("servers")
