"""Pages of failover and of DNS providers."""

import uuid
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains import failover
from domains.dns import providers, publishing
from domains.dns.providers import ProviderData
from domains.dns.rfc2136 import ALGORITHMS
from domains.failover_models import (
    TTL_MAX,
    TTL_MIN,
    DnsProvider,
    Failover,
    FailoverDecision,
    FailoverMode,
    ProviderKind,
)
from domains.failover_weights import WEIGHT_MIN, WEIGHT_USUAL, weights_by_domain
from domains.models import Domain
from lumos.errors import AppError
from lumos.forms import LumosForm
from lumos_agent.zone import WEIGHT_MAX
from servers.models import Server

DECISIONS_SHOWN = 30


class FailoverForm(LumosForm):
    """What people decide about a domain's failover."""

    mode = forms.ChoiceField(choices=FailoverMode.choices, label="The name answers with")
    hold_down_seconds = forms.IntegerField(
        min_value=0, max_value=86_400, label="Hold-down (s)", help_text="A server that was down serves that long first."
    )
    gap_seconds = forms.IntegerField(
        min_value=0, max_value=86_400, label="Gap (s)", help_text="Nothing comes back sooner after a change."
    )
    provider: Any = forms.ModelChoiceField(
        queryset=None,
        required=False,
        label="Published at",
        empty_label="Zones that your own servers serve",
    )
    ttl = forms.IntegerField(min_value=TTL_MIN, max_value=TTL_MAX, label="TTL at the provider (s)")

    def __init__(self, data: Any, row: Failover | None, servers: Sequence[Server]) -> None:
        given: Any = row or failover.FailoverData()
        super().__init__(data, initial={name: getattr(given, name) for name in failover.SETTINGS})
        self.fields["provider"].queryset = DnsProvider.objects.all()  # type: ignore[attr-defined]
        self._weights = {f"weight-{server.pk}": server for server in servers}
        for name, server in self._weights.items():
            weight = given.weights.get(str(server.pk), WEIGHT_USUAL)
            self.fields[name] = forms.IntegerField(
                min_value=WEIGHT_MIN, max_value=WEIGHT_MAX, initial=weight, required=False, label=server.name
            )
            self.fields[name].widget.attrs["class"] = "form-control"

    def settings(self) -> list[forms.BoundField]:
        """Return the fields that every mode has."""
        return [field for field in self if field.name not in self._weights]

    def weights(self) -> list[forms.BoundField]:
        """Return the fields with the weight of each server."""
        return [self[name] for name in self._weights]

    def values(self) -> failover.FailoverData:
        """Return what the service takes."""
        data = {name: value for name, value in self.cleaned_data.items() if name not in self._weights}
        is_weighted = data["mode"] == FailoverMode.WEIGHTED
        chosen = {server.pk: self.cleaned_data[name] or WEIGHT_USUAL for name, server in self._weights.items()}
        return failover.FailoverData(**data, weights=chosen if is_weighted else {})


class ProviderForm(LumosForm):
    """Access to a DNS provider."""

    name = forms.CharField(max_length=100, label="Name")
    kind = forms.ChoiceField(choices=ProviderKind.choices, label="Kind")
    zone = forms.CharField(max_length=253, label="Zone", help_text="example.com")
    credential = forms.CharField(
        max_length=500,
        label="API token or TSIG secret",
        help_text="Kept encrypted, never shown again.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    server = forms.CharField(required=False, max_length=253, label="Primary name server")
    port = forms.IntegerField(required=False, min_value=1, max_value=65_535, label="Port", initial=53)
    key_name = forms.CharField(required=False, max_length=253, label="Name of the TSIG key")
    algorithm = forms.ChoiceField(required=False, choices=[(name, name) for name in ALGORITHMS], label="Algorithm")

    def values(self) -> ProviderData:
        """Return what the service takes."""
        data = self.cleaned_data
        return ProviderData(**{**data, "port": data["port"] or 53, "algorithm": data["algorithm"] or ALGORITHMS[0]})


def _servers(domain: Domain) -> list[Server]:
    rows = domain.assignments.order_by("position").select_related("server__verdict")
    return [assignment.server for assignment in rows]


def _shown(request: HttpRequest, domain: Domain, form: FailoverForm, row: Failover | None) -> HttpResponse:
    weights = weights_by_domain([domain.pk]).get(domain.pk, {})
    context = {
        "domain": domain,
        "failover": row,
        "form": form,
        "servers": [(server, weights.get(str(server.pk))) for server in _servers(domain)],
        "decisions": FailoverDecision.objects.filter(domain=domain).select_related("actor")[:DECISIONS_SHOWN],
        "plan": publishing.dry_run(domain) if row and "plan" in request.GET else None,
    }
    return render(request, "domains/failover.html", context)


def _found(pk: uuid.UUID) -> tuple[Domain, Failover | None]:
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    rows = Failover.objects.filter(domain=domain).select_related("provider", "preferred", "drilled")
    return domain, rows.first()


@page()
def domain_failover(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """What a domain answers and why; `?plan` asks its provider what would be written."""
    domain, row = _found(pk)
    form = FailoverForm(request.POST or None, row, _servers(domain))
    if request.method == "POST" and form.is_valid():
        try:
            failover.put_failover(domain_id=pk, data=form.values(), actor=request.user)
            return redirect("domain-failover", pk=pk)
        except AppError as error:
            form.show(error)
    return _shown(request, domain, form, row)


@require_POST
@page(WRITE)
def failover_act(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Switch, hold, drill, take records over, or switch failover off."""
    domain, _ = _found(pk)
    action, chosen = request.POST.get("action", ""), request.POST.get("server", "")
    server = get_object_or_404(Server.objects.all(), pk=chosen) if chosen else None
    try:
        if action == "off":
            failover.remove_failover(domain_id=pk, actor=request.user)
        elif action == "adopt":
            publishing.adopt(domain=domain, actor=request.user)
        elif action in ("switch", "hold", "release", "drill", "end-drill"):
            failover.act(domain_id=pk, action=action, actor=request.user, server=server)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("domain-failover", pk=pk)


@never_cache
@page()
def dns_providers(request: PageRequest) -> HttpResponse:
    """Providers that failover writes to, and a form for one more."""
    form = ProviderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            providers.add_provider(data=form.values(), actor=request.user)
            return redirect("dns-providers")
        except AppError as error:
            form.show(error)
    rows = DnsProvider.objects.prefetch_related("failovers__domain")
    return render(request, "domains/providers.html", {"form": form, "providers": rows})


@require_POST
@page(WRITE)
def dns_provider_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Forget a provider."""
    provider = get_object_or_404(DnsProvider.objects.all(), pk=pk)
    try:
        providers.remove_provider(provider=provider, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("dns-providers")
