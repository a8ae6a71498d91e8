"""Pages that change a policy: settings, exclusions, and trying a request."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from lumos.errors import AppError
from waf import exclusions, services, trial
from waf.forms import ExclusionForm, PolicyForm, TryForm
from waf.models import Event, Exclusion
from waf.rules import catalogue
from waf.views import waf_detail

_EXAMPLE = "GET /search?q=1%27+or+1%3D1--+ HTTP/1.1\nHost: {host}\nUser-Agent: Mozilla/5.0\n\n"


@require_POST
@page(WRITE)
def policy_save(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change mode, level and the modes of groups."""
    domain = get_object_or_404(Domain.objects.select_related("policy"), pk=pk)
    form = PolicyForm(request.POST)
    if not form.is_valid():
        return waf_detail(request, pk, policy=form)
    services.change_policy(policy=domain.policy, actor=request.user, **form.values)
    return redirect("waf", pk=pk)


@require_POST
@page(WRITE)
def exclusion_add(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Let findings pass; an event's page fills the form in."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = ExclusionForm(request.POST)
    if form.is_valid():
        try:
            exclusions.add_exclusion(domain=domain, actor=request.user, **form.cleaned_data)
            return redirect("waf", pk=pk)
        except AppError as error:
            form.show(error)
    return waf_detail(request, pk, exclusion=form)


@require_POST
@page(WRITE)
def exclusion_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Let the rules object again."""
    exclusion = get_object_or_404(Exclusion.objects.select_related("domain"), pk=pk)
    exclusions.remove_exclusion(exclusion=exclusion, actor=request.user)
    return redirect("waf", pk=exclusion.domain_id)


@page(WRITE)
def waf_try(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Judge a pasted request with the policy of a domain."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    context = {"domain": domain}
    if request.method == "POST":
        form = TryForm(request.POST)
        if form.is_valid():
            try:
                raw = form.cleaned_data["request"].encode()
                found, policy = trial.try_request(domain=domain, request=raw)
                context |= {"trial": found, "threshold": catalogue().thresholds[policy.level], "policy": policy}
            except AppError as error:
                form.show(error)
    else:
        form = TryForm(initial={"request": _request_of(request.GET.get("event"), domain)})
    return render(request, "waf/try.html", context | {"form": form})


def _request_of(event_id: str | None, domain: Domain) -> str:
    """Return the request of an event as far as it is kept, or an example."""
    try:
        event = Event.objects.filter(pk=uuid.UUID(event_id or ""), domain=domain).first()
    except ValueError:
        event = None
    if event is None:
        return _EXAMPLE.format(host=domain.hostname)
    target = event.path + (f"?{event.query}" if event.query else "")
    return f"{event.method} {target} HTTP/1.1\nHost: {event.host}\nUser-Agent: {event.user_agent}\n\n"
