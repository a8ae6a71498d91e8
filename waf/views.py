"""Pages of policies, lists and events."""

import uuid

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from waf import services
from waf.filters import EventFilter
from waf.forms import PolicyForm
from waf.models import Event, ListEntry

PAGE_SIZE = 50


@page()
def waf_detail(request: HttpRequest, pk: uuid.UUID, policy: PolicyForm | None = None) -> HttpResponse:
    """Policy, newest list entries and latest events of one domain."""
    domain = get_object_or_404(Domain.objects.select_related("policy"), pk=pk)
    initial = {"mode": domain.policy.mode, "level": domain.policy.level}
    context = {
        "domain": domain,
        "policy_form": policy or PolicyForm(initial=initial),
        "entries": ListEntry.objects.filter(domain=domain)[:10],
        "events": Event.objects.filter(domain=domain).select_related("domain")[:10],
    }
    return render(request, "waf/detail.html", context)


@require_POST
@page(WRITE)
def policy_save(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change mode and level."""
    domain = get_object_or_404(Domain.objects.select_related("policy"), pk=pk)
    form = PolicyForm(request.POST)
    if not form.is_valid():
        return waf_detail(request, pk, policy=form)
    services.change_policy(policy=domain.policy, actor=request.user, **form.cleaned_data)
    return redirect("waf", pk=pk)


@page()
def event_list(request: HttpRequest) -> HttpResponse:
    """What policies stopped, newest first; filters by host, client and request id."""
    found = EventFilter(request.GET, Event.objects.select_related("domain", "server"))
    rows = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "waf/events.html", {"events": rows, "filter": found, "query": request.GET})
