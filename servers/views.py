"""Pages of servers."""

import uuid
from typing import Any

from django.contrib import messages
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import ADMIN, WRITE
from lumos.errors import AppError
from servers import enrolment, selectors, services
from servers.forms import ServerForm
from servers.models import Server


@page()
def server_list(request: HttpRequest) -> HttpResponse:
    """All shields with live status and apply state."""
    return render(request, "servers/list.html", {"servers": selectors.servers_with_domains()})


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
    server = get_object_or_404(Server.objects.all(), pk=pk)
    context = {
        "server": server,
        "domains": server.domains.order_by("hostname")[:200],
        "chart": selectors.requests_per_hour(server=server),
    }
    return render(request, "servers/detail.html", context)


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
