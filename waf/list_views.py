"""Pages of the lists of a domain and of the account."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from lumos.errors import AppError
from servers.models import Server
from waf import lists, subscriptions
from waf.filters import ListEntryFilter
from waf.forms import ListEntryForm, ListImportForm, SubscriptionForm
from waf.list_import import Imported, import_list
from waf.models import ListEntry, ListSubscription

PAGE_SIZE = 50


def _domain(pk: uuid.UUID | None) -> Domain | None:
    return None if pk is None else get_object_or_404(Domain.objects.all(), pk=pk)


def _back(domain: Any) -> HttpResponse:
    return redirect("lists") if domain is None else redirect("domain-lists", pk=domain.pk)


def _shown(request: HttpRequest, domain: Domain | None, **given: Any) -> HttpResponse:
    """Render the page; `given` are forms that were refused, and what an import would do."""
    rows = ListEntry.objects.filter(domain=domain).select_related("subscription", "added_by")
    found = ListEntryFilter(request.GET, rows)
    context = {
        "domain": domain,
        "entries": Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page")),
        "query": request.GET,
        "subscriptions": ListSubscription.objects.filter(domain=domain),
        "without_geo": _without_geo(),
        "entry_form": ListEntryForm(initial={"kind": "deny"}),
        "import_form": ListImportForm(),
        "subscription_form": SubscriptionForm(),
    }
    return render(request, "waf/lists.html", context | given)


def _without_geo() -> list[tuple[str, str]]:
    """Return (server, reason) where lists of countries or autonomous systems have no effect."""
    rows = Server.objects.exclude(health__geo="").exclude(health__geo=None).order_by("name")
    return [(name, health["geo"]) for name, health in rows.values_list("name", "health")]


@page()
def account_lists(request: HttpRequest) -> HttpResponse:
    """Show the lists of all domains."""
    return _shown(request, None)


@page()
def domain_lists(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Show the lists of one domain."""
    return _shown(request, _domain(pk))


@require_POST
@page(WRITE)
def entry_add(request: PageRequest, pk: uuid.UUID | None = None) -> HttpResponse:
    """Put an entry on a list."""
    domain, form = _domain(pk), ListEntryForm(request.POST)
    if form.is_valid():
        try:
            lists.add_list_entry(domain=domain, actor=request.user, **form.cleaned_data)
            return _back(domain)
        except AppError as error:
            form.show(error)
    return _shown(request, domain, entry_form=form)


@require_POST
@page(WRITE)
def entry_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Take an entry off its list."""
    entry = get_object_or_404(ListEntry.objects.select_related("domain"), pk=pk)
    try:
        lists.remove_list_entry(entry=entry, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
    return _back(entry.domain)


@require_POST
@page(WRITE)
def list_import(request: PageRequest, pk: uuid.UUID | None = None) -> HttpResponse:
    """Import a list from text, or only count."""
    domain, form = _domain(pk), ListImportForm(request.POST)
    if form.is_valid():
        try:
            done = import_list(domain=domain, actor=request.user, **form.cleaned_data)
        except AppError as error:
            form.show(error)
        else:
            if form.cleaned_data["dry_run"]:
                return _shown(request, domain, import_form=form, would=done)
            messages.success(request, _summary(done))
            return _back(domain)
    return _shown(request, domain, import_form=form)


def _summary(done: Imported) -> str:
    return f"{done.added} entries added, {done.removed} removed, {done.kept} were there already."


@require_POST
@page(WRITE)
def subscription_add(request: PageRequest, pk: uuid.UUID | None = None) -> HttpResponse:
    """Follow a list at a URL."""
    domain, form = _domain(pk), SubscriptionForm(request.POST)
    if form.is_valid():
        try:
            subscriptions.add_subscription(domain=domain, actor=request.user, **form.cleaned_data)
            return _back(domain)
        except AppError as error:
            form.show(error)
    return _shown(request, domain, subscription_form=form)


@require_POST
@page(WRITE)
def subscription_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Stop following a list."""
    row = get_object_or_404(ListSubscription.objects.select_related("domain"), pk=pk)
    lists.end_subscription(subscription=row, actor=request.user)
    return _back(row.domain)
