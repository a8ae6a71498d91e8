"""The page of a domain's own Lua: the script, trying it, and what went wrong with it."""

import uuid
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.models import Domain
from lumos.errors import AppError
from waf import scripts
from waf.script_forms import ScriptForm

_EXAMPLE = "GET /login?user=anna HTTP/1.1\nHost: {host}\nUser-Agent: Mozilla/5.0\nCookie: session=abc\n\n"


@page()
def script(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Show and save the script; with the button "try" only try it."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    if request.method != "POST":
        present = ScriptForm.of(scripts.script_of(domain.pk), _EXAMPLE.format(host=domain.hostname))
        return _shown(request, domain, present)
    if not request.grants.may(WRITE):
        raise PermissionDenied("Only members who may write can change or try a script.")
    form = ScriptForm(request.POST)
    if not form.is_valid():
        return _shown(request, domain, form)
    try:
        if "try" in request.POST:
            return _shown(request, domain, form, trial=scripts.try_on(**form.trial))
        wanted = scripts.canonical_script(form.values)
        scripts.put_script(domain=domain, wanted=wanted, actor=request.user)
    except AppError as error:
        form.show(error)
        return _shown(request, domain, form)
    return redirect("waf-script", pk=pk)


def _shown(request: PageRequest, domain: Domain, form: ScriptForm, **context: Any) -> HttpResponse:
    context |= {"domain": domain, "form": form, "troubles": scripts.troubles(domain)}
    return render(request, "waf/script.html", context)
