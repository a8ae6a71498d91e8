"""Pages of a domain's WAF and of its lists."""

import uuid

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from lumos.errors import AppError
from waf import services
from waf.forms import ExclusionForm, ListEntryForm, PolicyForm
from waf.guard_forms import BotCheckForm, RateForm
from waf.guards import guard_of
from waf.models import Event, ListEntry

PAGE_SIZE = 50


@page()
def waf_detail(
    request: HttpRequest,
    pk: uuid.UUID,
    policy: PolicyForm | None = None,
    entry: ListEntryForm | None = None,
    check: BotCheckForm | None = None,
    rate: RateForm | None = None,
    exclusion: ExclusionForm | None = None,
) -> HttpResponse:
    """Policy, exclusions, lists and latest events of one domain."""
    domain = get_object_or_404(Domain.objects.select_related("policy"), pk=pk)
    guard = guard_of(domain.pk)
    context = {
        "domain": domain,
        "guard": guard,
        "check_form": check or BotCheckForm.of(guard.bot_check),
        "rate_form": rate or RateForm(),
        "policy_form": policy or PolicyForm.of(domain.policy),
        "exclusion_form": exclusion or ExclusionForm(),
        "exclusions": domain.exclusions.select_related("created_by"),
        "entry_form": entry or ListEntryForm(initial={"kind": "deny"}),
        "entries": Paginator(domain.list_entries.all(), PAGE_SIZE).get_page(request.GET.get("page")),
        "events": Event.objects.filter(domain=domain).select_related("domain")[:10],
    }
    return render(request, "waf/detail.html", context)


@require_POST
@page(WRITE)
def entry_add(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Put a network on a list."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = ListEntryForm(request.POST)
    if form.is_valid():
        try:
            services.add_list_entry(domain=domain, actor=request.user, **form.cleaned_data)
            return redirect("waf", pk=pk)
        except AppError as error:
            form.show(error)
    return waf_detail(request, pk, entry=form)


@require_POST
@page(WRITE)
def entry_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Take a network off its list."""
    entry = get_object_or_404(ListEntry.objects.select_related("domain"), pk=pk)
    services.remove_list_entry(entry=entry, actor=request.user)
    return redirect("waf", pk=entry.domain_id)
