"""The button that looks for leaking origins; what it finds is on the domain's page."""

import uuid

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains import leak_checks
from domains.models import Domain
from lumos.errors import AppError


@require_POST
@page(WRITE)
def origin_check(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Look now."""
    domain = get_object_or_404(Domain.objects.all(), pk=pk)
    try:
        leak_checks.ask(domain_id=domain.pk, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("domain", pk=pk)
