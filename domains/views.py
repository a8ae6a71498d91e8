"""Pages of domains."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains import health, presets, rollouts, services, traffic
from domains.acme import acme_part
from domains.clone import clone_settings
from domains.forms import CloneForm, DomainEditor, UploadForm
from domains.leak_models import LeakCheck
from domains.models import Domain
from domains.traffic_form import TrafficForm
from domains.uploads import recipients, upload_certificate
from lumos.errors import AppError
from servers import selectors, tunnel_ends
from waf.attacks import attacks_now
from waf.compiler import is_under_attack

PAGE_SIZE = 50


@page()
def domain_list(request: HttpRequest) -> HttpResponse:
    """Protected hostnames, searchable."""
    search = request.GET.get("q", "").strip()
    rows = Domain.objects.select_related("policy").prefetch_related("origins", "assignments__server")
    if search:
        rows = rows.filter(hostname__icontains=search)
    found = Paginator(rows.order_by("hostname"), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "domains/list.html", {"domains": found, "search": search, "under_attack": is_under_attack()})


@page(WRITE)
def domain_add(request: PageRequest) -> HttpResponse:
    """Protect one more hostname."""
    editor = DomainEditor(request.POST or None)
    if request.method == "POST" and editor.is_valid():
        try:
            domain = services.add_domain(actor=request.user, **editor.values())
            return redirect("domain", pk=domain.pk)
        except AppError as error:
            editor.show(error)
    return render(request, "domains/form.html", {"editor": editor})


@page()
def domain_detail(request: HttpRequest, pk: uuid.UUID, clone: CloneForm | None = None) -> HttpResponse:
    """One hostname: where it is applied, what it serves."""
    rows = Domain.objects.select_related("policy")
    states = Prefetch("origins__health", health.of_assigned_servers().select_related("server"))
    rows = rows.prefetch_related(states, "assignments__server", "certificates__server")
    domain = get_object_or_404(rows, pk=pk)
    context = {
        "domain": domain,
        "attacks": attacks_now(domain.pk).select_related("server"),
        "chart": selectors.requests_per_hour(domain=domain.pk),
        "acme": acme_part(),
        "rollout": rollouts.open_rollout(domain),
        "clone": clone or CloneForm(domain=domain),
        "silent_tunnels": tunnel_ends.problems(origin.address for origin in domain.origins.all()),
        "leak_check": LeakCheck.objects.filter(domain=domain).first(),
    }
    return render(request, "domains/detail.html", context)


@require_POST
@page(WRITE)
def domain_clone(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Take settings over from another domain."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = CloneForm(request.POST, domain=domain)
    if not form.is_valid():
        return domain_detail(request, pk, clone=form)
    source = form.cleaned_data["source"]
    differed = clone_settings(domain_id=pk, source_id=source.pk, parts=form.cleaned_data["parts"], actor=request.user)
    text = "Settings taken over from {}." if differed else "Nothing to do: these settings equal those of {}."
    messages.success(request, text.format(source.hostname))
    return redirect("domain", pk=pk)


@page(WRITE)
def domain_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change hostname, origins and servers."""
    domain = get_object_or_404(Domain.objects.prefetch_related("origins", "assignments"), pk=pk)
    editor = DomainEditor(request.POST or None, domain)
    if request.method == "POST" and editor.is_valid():
        try:
            values: dict[str, Any] = editor.values()
            services.change_domain(domain_id=pk, actor=request.user, **values)
            return redirect("domain", pk=pk)
        except AppError as error:
            editor.show(error)
    return render(request, "domains/form.html", {"editor": editor, "domain": domain})


@page(WRITE)
def domain_traffic(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change how a hostname's requests travel."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = TrafficForm(request.POST or None, traffic.parsed(domain.traffic))
    if request.method == "POST" and form.is_valid():
        try:
            services.change_domain(domain_id=pk, actor=request.user, traffic=form.settings())
            return redirect("domain", pk=pk)
        except AppError as error:
            form.show(error)
    context = {"form": form, "domain": domain, "presets": presets.PRESETS}
    return render(request, "domains/traffic.html", context)


@page(WRITE)
def domain_certificate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Upload a certificate; the browser seals its private key to each shield."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = UploadForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            upload_certificate(domain=domain, chain=data["chain"], sealed_keys=data["keys"], actor=request.user)
            messages.success(request, "The shields were sent the certificate; its state is below.")
            return redirect("domain", pk=pk)
        except AppError as error:
            form.show(error)
    context = {"form": form, "domain": domain, "recipients": recipients(domain)}
    return render(request, "domains/certificate.html", context)


@require_POST
@page(WRITE)
def domain_preset(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Set what suits a kind of site."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    try:
        presets.apply_preset(domain_id=pk, name=request.POST.get("preset", ""), actor=request.user)
        messages.success(request, f"{domain.hostname} has the settings of the preset.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("domain-traffic", pk=pk)


@require_POST
@page(WRITE)
def domain_cache_purge(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Empty the cache of a hostname."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    services.purge_cache(domain_id=pk, actor=request.user)
    messages.success(request, f"The servers of {domain.hostname} forget what they keep.")
    return redirect("domain-traffic", pk=pk)


@require_POST
@page(WRITE)
def rollout_release(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Put a staged change on all servers now."""
    try:
        rollouts.release(domain=get_object_or_404(Domain.objects.all(), pk=pk), actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("domain", pk=pk)


@require_POST
@page(WRITE)
def domain_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Stop protecting a hostname."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    services.remove_domain(domain=domain, actor=request.user)
    messages.success(request, f"{domain.hostname} is no longer served by your shields.")
    return redirect("domains")
