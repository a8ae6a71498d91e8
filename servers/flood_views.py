"""Page of a server's flood protection."""

import uuid

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from lumos.errors import AppError
from lumos.forms import LumosForm
from servers import floods
from servers.forward_parts import flood_settings
from servers.models import Server


class FloodForm(LumosForm):
    """Limits per client address."""

    connections = forms.IntegerField(
        min_value=0, max_value=1_000_000, label="Open connections per address", help_text="0 is no limit. Try 200."
    )
    new_per_second = forms.IntegerField(
        min_value=0, max_value=1_000_000, label="New connections per second and address", help_text="0: none. Try 50."
    )
    bans = forms.BooleanField(required=False)


@page(WRITE)
def server_flood(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """What the kernel of this shield does before HAProxy sees a packet."""
    server = get_object_or_404(Server.objects.all(), pk=pk)
    form = FloodForm(request.POST or None, initial=flood_settings(server))
    if request.method == "POST" and form.is_valid():
        try:
            floods.put_flood(server=server, actor=request.user, **form.cleaned_data)
            messages.success(request, f"The kernel of {server.name} is told.")
            return redirect("server", pk=pk)
        except AppError as error:
            form.show(error)
    return render(request, "servers/flood.html", {"server": server, "form": form})
