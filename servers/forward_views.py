"""Pages of forwards."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from lumos.errors import AppError
from lumos.forms import LumosForm
from servers import forwards
from servers.forward_models import Forward, ProxyProtocol, Transport
from servers.models import Server

PAGE_SIZE = 50


class ForwardForm(LumosForm):
    """A port and where it leads."""

    server: "forms.ModelChoiceField[Any]" = forms.ModelChoiceField(queryset=None)
    name = forms.CharField(max_length=100, help_text="For example Minecraft.")
    protocol = forms.ChoiceField(choices=Transport.choices)
    port = forms.IntegerField(min_value=1, max_value=65_535, label="Port on the server")
    target = forms.CharField(max_length=253, help_text="An IP address; for TCP also a hostname.")
    target_port = forms.IntegerField(min_value=1, max_value=65_535, label="Port there")
    idle_seconds = forms.IntegerField(
        min_value=10, max_value=86_400, initial=300, label="Idle time (s)", help_text="Silent sessions end after it."
    )
    connections = forms.IntegerField(
        min_value=0, max_value=1_000_000, initial=0, label="Connections per address", help_text="TCP; 0 is no limit."
    )
    packets_per_second = forms.IntegerField(
        min_value=0, max_value=1_000_000, initial=0, label="Packets/s per address", help_text="UDP; 0 is no limit."
    )
    proxy_protocol = forms.ChoiceField(
        choices=ProxyProtocol.choices, label="Tell the client's address", help_text="TCP; the target must expect it."
    )
    enabled = forms.BooleanField(required=False, initial=True)

    def __init__(self, *args: Any, is_new: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["server"].queryset = Server.objects.order_by("name")  # type: ignore[attr-defined]
        if not is_new:
            del self.fields["server"]


@page()
def forward_list(request: PageRequest) -> HttpResponse:
    """What all servers pass on, with the counts of the last day."""
    rows = Paginator(Forward.objects.select_related("server"), PAGE_SIZE).get_page(request.GET.get("page"))
    forwards.add_day(list(rows))
    has_servers = Server.objects.exists()
    return render(request, "servers/forwards.html", {"rows": rows, "has_servers": has_servers})


@page(WRITE)
def forward_add(request: PageRequest) -> HttpResponse:
    """Pass a port on."""
    form = ForwardForm(request.POST or None, initial={"server": request.GET.get("server")})
    if request.method == "POST" and form.is_valid():
        try:
            row = forwards.add_forward(actor=request.user, **form.cleaned_data)
            messages.success(request, f"{row.get_protocol_display()} port {row.port} of {row.server} is passed on.")
            return redirect("forwards")
        except AppError as error:
            form.show(error)
    return render(request, "servers/forward.html", {"form": form})


@page(WRITE)
def forward_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change a forward."""
    row = get_object_or_404(Forward.objects.select_related("server"), pk=pk)
    initial = {name: getattr(row, name) for name in forwards.FIELDS}
    form = ForwardForm(request.POST or None, initial=initial, is_new=False)
    if request.method == "POST" and form.is_valid():
        try:
            forwards.change_forward(forward=row, actor=request.user, **form.cleaned_data)
            return redirect("forwards")
        except AppError as error:
            form.show(error)
    return render(request, "servers/forward.html", {"form": form, "forward": row})


@require_POST
@page(WRITE)
def forward_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Pass a port on no more."""
    row = get_object_or_404(Forward.objects.all(), pk=pk)
    forwards.remove_forward(forward=row, actor=request.user)
    return redirect("forwards")
