"""Pages of billing, and the door of the payment provider's messages."""

import uuid
from datetime import date
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import ADMIN
from billing import plans, providers, selectors, top_ups
from billing.forms import PlanForm, TopUpForm
from billing.models import Plan, TopUp, TopUpState
from lumos.errors import AppError
from lumos.problems import problem_json

RECEIPTS_SHOWN = 24
YEARS = range(2000, 2200)


def _page(request: PageRequest, form: TopUpForm, status: int = 200) -> HttpResponse:
    standing, provider = selectors.standing(), providers.provider()
    context = {
        "standing": standing,
        "statement": selectors.statement(_month(request)),
        "plans": Plan.objects.filter(is_offered=True),
        "payments": TopUp.objects.exclude(state=TopUpState.OPEN)[:RECEIPTS_SHOWN],
        "currency": settings.BILLING_CURRENCY.upper(),
        "form": form,
        "can_pay": provider is not None,
        "has_paid": "paid" in request.GET,
    }
    response = render(request, "billing/billing.html", context, status=status)
    if provider is not None:
        # The button leads to the provider's page, and browsers hold a redirect after a form to form-action too.
        response._csp_update = {"form-action": [provider.pages]}  # type: ignore[attr-defined]
    return response


def _month(request: HttpRequest) -> date:
    asked = request.GET.get("month")
    try:
        month = date.fromisoformat(f"{asked}-01") if asked else timezone.now().date()
    except ValueError as error:
        raise Http404 from error
    if month.year not in YEARS:
        raise Http404
    return month


@page()
def billing(request: PageRequest) -> HttpResponse:
    """What is charged, until when the balance lasts, what freezing does, and a month's statement."""
    return _page(request, TopUpForm())


@require_POST
@page(ADMIN)
def plan_save(request: PageRequest) -> HttpResponse:
    """Choose a plan."""
    form = PlanForm(request.POST)
    if not form.is_valid():
        messages.error(request, "This plan is not offered; choose another one.")
        return redirect("billing")
    try:
        wallet = plans.choose_plan(plan=form.cleaned_data["plan"], actor=request.user)
        begins = "from the next five minutes on" if wallet.next_plan else "as before"
        messages.success(request, f"Your plan is {form.cleaned_data['plan']}, {begins}.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("billing")


@require_POST
@page(ADMIN)
def top_up(request: PageRequest) -> HttpResponse:
    """Go to the payment provider to buy credits."""
    form = TopUpForm(request.POST)
    if form.is_valid():
        try:
            _, checkout = top_ups.start_top_up(amount=form.cleaned_data["amount"], actor=request.user)
            return redirect(checkout.url)
        except AppError as error:
            form.show(error)
    return _page(request, form)


@page()
def receipt(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """One payment, made to be printed."""
    row = get_object_or_404(TopUp.objects.exclude(state=TopUpState.OPEN), pk=pk)
    return render(request, "billing/receipt.html", {"payment": row})


@page()
def ledger_csv(request: PageRequest) -> HttpResponseBase:
    """Every entry, as a download."""
    headers = {"Content-Disposition": 'attachment; filename="lumos-ledger.csv"'}
    lines = selectors.csv_lines(request.account.pk)
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


@csrf_exempt
@require_POST
def provider_event(request: HttpRequest, name: str) -> HttpResponse:
    """Take a message of the payment provider; its signature is the only proof. 2xx ends its retries."""
    provider: Any = providers.provider()
    if provider is None or provider.name != name:
        raise Http404
    try:
        top_ups.receive(provider=provider, body=request.body, headers=request.headers)
    except AppError as error:
        return problem_json(error.status, error.code, error.title, error.detail)
    return JsonResponse({"received": True})
