"""Pages of a domain's custom rules."""

import uuid
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from lumos.errors import AppError
from waf import custom_rules
from waf.forms import RuleForm
from waf.models import CustomRule
from waf.rule_hits import with_hits


def _shown(request: PageRequest, domain: Domain, form: RuleForm, **context: Any) -> HttpResponse:
    rules = with_hits(domain.custom_rules.all())
    return render(request, "waf/rules.html", {"domain": domain, "rules": rules, "form": form, **context})


def _tried(request: PageRequest, domain: Domain, form: RuleForm, **context: Any) -> HttpResponse:
    """Show for which events of the last hour the condition would have held."""
    try:
        found = custom_rules.dry_run_of(domain=domain, expression=form.cleaned_data["expression"])
    except AppError as error:
        form.show(error)
        return _shown(request, domain, form, **context)
    return _shown(request, domain, form, dry_run=found, **context)


@page()
def rule_list(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """The rules of a domain in order, and a form for one more, which can be tried before it is saved."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    form = RuleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if "try" in request.POST:
            return _tried(request, domain, form)
        try:
            custom_rules.add_rule(domain=domain, actor=request.user, **form.cleaned_data)
            return redirect("waf-rules", pk=pk)
        except AppError as error:
            form.show(error)
    return _shown(request, domain, form)


@page(WRITE)
def rule_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change a rule."""
    rule = get_object_or_404(CustomRule.objects.select_related("domain"), pk=pk)
    initial = {name: getattr(rule, name) for name in custom_rules.FIELDS}
    form = RuleForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        if "try" in request.POST:
            return _tried(request, rule.domain, form, editing=rule)
        changes = {name: value for name, value in form.cleaned_data.items() if name != "position" or value is not None}
        try:
            custom_rules.change_rule(rule=rule, actor=request.user, **changes)
            return redirect("waf-rules", pk=rule.domain_id)
        except AppError as error:
            form.show(error)
    return _shown(request, rule.domain, form, editing=rule)


@require_POST
@page(WRITE)
def rule_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Remove a rule."""
    rule = get_object_or_404(CustomRule.objects.select_related("domain"), pk=pk)
    custom_rules.remove_rule(rule=rule, actor=request.user)
    return redirect("waf-rules", pk=rule.domain_id)
