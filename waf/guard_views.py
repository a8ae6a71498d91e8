"""Pages of rate rules and the bot check."""

import uuid
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from domains.traffic import plain
from lumos.errors import AppError
from waf import guards
from waf.guard_forms import BotCheckForm, RateForm
from waf.views import waf_detail


def _put(request: PageRequest, domain: Domain, given: dict[str, Any]) -> None:
    guards.put_guard(domain=domain, wanted=guards.merged_guard(domain.pk, given), actor=request.user)


@require_POST
@page(WRITE)
def guard_save(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change the bot check, or only the "under attack" switch, which has a button of its own."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    if "under_attack" in request.POST:
        _put(request, domain, {"bot_check": {"under_attack": request.POST["under_attack"] == "on"}})
        return redirect("waf", pk=pk)
    form = BotCheckForm(request.POST)
    if form.is_valid():
        try:
            _put(request, domain, {"bot_check": form.changes()})
            return redirect("waf", pk=pk)
        except AppError as error:
            form.show(error)
    return waf_detail(request, pk, check=form)


@require_POST
@page(WRITE)
def rate_add(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Add a rate rule behind the others."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = RateForm(request.POST)
    if form.is_valid():
        rates = plain(guards.guard_of(domain.pk)).get("rates", [])
        try:
            _put(request, domain, {"rates": [*rates, form.rule()]})
            return redirect("waf", pk=pk)
        except AppError as error:
            form.show(error)
    return waf_detail(request, pk, rate=form)


@page(WRITE)
def rate_edit(request: PageRequest, pk: uuid.UUID, name: str) -> HttpResponse:
    """Change a rate rule, which keeps its place."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    guard = guards.guard_of(domain.pk)
    place = next((index for index, rule in enumerate(guard.rates) if rule.id == name), None)
    if place is None:
        raise Http404
    form = RateForm(request.POST) if request.method == "POST" else RateForm.of(guard.rates[place])
    if request.method == "POST" and form.is_valid():
        rates = plain(guard).get("rates", [])
        try:
            _put(request, domain, {"rates": [*rates[:place], form.rule(), *rates[place + 1 :]]})
            return redirect("waf", pk=pk)
        except AppError as error:
            form.show(error)
    return waf_detail(request, pk, rate=form, editing=name)


@require_POST
@page(WRITE)
def rate_remove(request: PageRequest, pk: uuid.UUID, name: str) -> HttpResponse:
    """Remove a rate rule."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    rates = plain(guards.guard_of(domain.pk)).get("rates", [])
    _put(request, domain, {"rates": [rule for rule in rates if rule["id"] != name]})
    return redirect("waf", pk=pk)


@require_POST
@page(WRITE)
def under_attack_save(request: PageRequest) -> HttpResponse:
    """Turn the account's switch."""
    guards.put_under_attack(under_attack=request.POST.get("under_attack") == "on", actor=request.user)
    return redirect("domains")
