"""Pages of tunnels."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import ADMIN, WRITE
from lumos.errors import AppError
from lumos.forms import LumosForm
from servers import tunnel_ends, tunnel_origins, tunnel_parts, tunnels
from servers.models import Server
from servers.tunnel_firewall import Kind, firewall_script, parsed_ports
from servers.tunnel_models import Tunnel, TunnelShield

PORTS = "80, 443"


class TunnelForm(LumosForm):
    """A name."""

    name = forms.CharField(
        max_length=40, help_text="For example web-1. Domains name it web-1.tunnel as their origin. The name stays."
    )


class NetworkForm(LumosForm):
    """The addresses inside the tunnels."""

    network = forms.CharField(max_length=20, help_text="Private addresses that no network of your origins uses.")
    mtu = forms.IntegerField(label="MTU", help_text="1420 is usual; less where packets are wrapped once more (PPPoE).")


@page()
def tunnel_list(request: HttpRequest) -> HttpResponse:
    """All origins with tunnels, and the servers' ends."""
    ends = TunnelShield.objects.select_related("server")
    found = Tunnel.objects.prefetch_related("states__server")
    context: dict[str, Any] = {"tunnels": found, "has_servers": Server.objects.exists()}
    if found:
        plan = tunnel_parts.network()
        context["form"] = NetworkForm(initial={"network": plan.network, "mtu": plan.mtu})
        context["ends"] = [
            {"end": e, "waiting": tunnel_ends.waiting_for(e) if e.rotation_began_at else []} for e in ends
        ]
        context["alive_since"] = tunnel_ends.alive_since()
    return render(request, "servers/tunnels.html", context)


def _show_command(request: HttpRequest, tunnel: Tunnel, token: str) -> HttpResponse:
    context = {
        "tunnel": tunnel,
        "command": tunnels.join_line(token),
        "hours": int(tunnels.JOIN_FOR.total_seconds() // 3600),
    }
    return render(request, "servers/tunnel_join.html", context)


@never_cache
@page(WRITE)
def tunnel_add(request: PageRequest) -> HttpResponse:
    """Add a tunnel; the answer shows the command for the origin once."""
    form = TunnelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            tunnel, token = tunnels.add_tunnel(name=form.cleaned_data["name"], actor=request.user)
            return _show_command(request, tunnel, token)
        except AppError as error:
            form.show(error)
    return render(request, "servers/tunnel_form.html", {"form": form})


@page()
def tunnel_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One origin: its tunnels to the servers, the domains that use it, and how to close its ports."""
    tunnel = get_object_or_404(Tunnel.objects.prefetch_related("states__server"), pk=pk)
    context: dict[str, Any] = {
        "tunnel": tunnel,
        "states": {state.server_id: state for state in tunnel.states.all()},
        "ends": TunnelShield.objects.select_related("server"),
        "alive_since": tunnel_ends.alive_since(),
        "domains": tunnels.used_by(tunnel.hostname),
        "ports": request.GET.get("ports", PORTS),
        "kind": request.GET.get("kind", "nftables"),
    }
    kind: Kind = "ufw" if context["kind"] == "ufw" else "nftables"
    try:
        ports = parsed_ports(context["ports"])
        context["firewall"] = firewall_script(kind, tunnel_parts.shield_addresses(), ports)
    except AppError as error:
        context["problem"] = error.detail
    return render(request, "servers/tunnel.html", context)


@never_cache
@require_POST
@page(WRITE)
def tunnel_open_join(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Show another command; the one before ends."""
    tunnel = get_object_or_404(Tunnel.objects.all(), pk=pk)
    return _show_command(request, tunnel, tunnels.open_join(tunnel=tunnel, actor=request.user))


@never_cache
@page(WRITE)
def tunnel_files(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Set an origin up by hand: the browser makes its key and keeps the private half."""
    tunnel = get_object_or_404(Tunnel.objects.all(), pk=pk)
    context: dict[str, Any] = {"tunnel": tunnel}
    if request.method == "POST":
        try:
            key = request.POST.get("public_key", "")
            tunnel = context["tunnel"] = tunnels.put_public_key(tunnel=tunnel, public_key=key, actor=request.user)
        except AppError as error:
            context["problem"] = error.detail
    if tunnel.public_key:
        context["configuration"] = tunnel_origins.configuration(tunnel)
    return render(request, "servers/tunnel_files.html", context)


@require_POST
@page(WRITE)
def tunnel_rotate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Let the origin make another key."""
    tunnel = get_object_or_404(Tunnel.objects.all(), pk=pk)
    try:
        tunnels.want_new_key(tunnel=tunnel, actor=request.user)
        messages.success(request, f"{tunnel.name} makes another key within a minute.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("tunnel", pk=pk)


@require_POST
@page(WRITE)
def tunnel_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Cut an origin off."""
    tunnel = get_object_or_404(Tunnel.objects.all(), pk=pk)
    try:
        tunnels.remove_tunnel(tunnel=tunnel, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("tunnel", pk=pk)
    messages.success(
        request, f"{tunnel.name} was removed. At the origin, `lumos-tunnel uninstall` takes its part away."
    )
    return redirect("tunnels")


@require_POST
@page(WRITE)
def shield_rotate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Let a server make another key."""
    end = get_object_or_404(TunnelShield.objects.all(), pk=pk)
    try:
        tunnel_ends.rotate_shield_key(end=end, actor=request.user)
        messages.success(request, "The server makes another key; its origins follow within a minute.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("tunnels")


@require_POST
@page(ADMIN)
def shield_end_old(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """End a server's old key although origins use it."""
    end = get_object_or_404(TunnelShield.objects.all(), pk=pk)
    try:
        tunnel_ends.end_shield_rotation(end=end, actor=request.user)
        messages.success(request, "The old key has ended.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("tunnels")


@require_POST
@page(WRITE)
def network_save(request: PageRequest) -> HttpResponse:
    """Give all ends other addresses."""
    form = NetworkForm(request.POST)
    try:
        if not form.is_valid():
            messages.error(request, "Enter a network such as 10.97.0.0/16 and an MTU such as 1420.")
        else:
            data = form.cleaned_data
            tunnels.change_network(network_text=data["network"], mtu=data["mtu"], actor=request.user)
            messages.success(request, "Shields have the new addresses now, origins with the script within a minute.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("tunnels")
