"""Pages of a domain's WAF and of its lists."""

import uuid
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from accounts.pages import page
from domains.models import Domain
from waf.attacks import attacks_now
from waf.forms import ExclusionForm, PolicyForm
from waf.guard_forms import BotCheckForm, RateForm
from waf.guards import guard_of
from waf.models import Event, ListEntry

ATTACKS = 10
COUNTED = timedelta(days=1)


@page()
def waf_detail(
    request: HttpRequest,
    pk: uuid.UUID,
    policy: PolicyForm | None = None,
    check: BotCheckForm | None = None,
    rate: RateForm | None = None,
    exclusion: ExclusionForm | None = None,
    editing: str = "",
) -> HttpResponse:
    """Policy, guard, attacks, exclusions, newest list entries and latest events of one domain.

    `editing` is the rate rule that `rate` changes.
    """
    domain = get_object_or_404(Domain.objects.select_related("policy"), pk=pk)
    guard = guard_of(domain.pk)
    context = {
        "domain": domain,
        "guard": guard,
        "check_form": check or BotCheckForm.of(guard.bot_check),
        "rate_form": rate or RateForm(),
        "editing": editing,
        "challenged": Event.objects.filter(
            domain=domain, action="challenge", created_at__gte=timezone.now() - COUNTED
        ).count(),
        "policy_form": policy or PolicyForm.of(domain.policy),
        "exclusion_form": exclusion or ExclusionForm(),
        "attacks": domain.attacks.select_related("server")[:ATTACKS],
        "attacks_now": attacks_now(domain.pk).select_related("server"),
        "exclusions": domain.exclusions.select_related("created_by"),
        "entries": ListEntry.objects.filter(domain=domain)[:10],
        "events": Event.objects.filter(domain=domain).select_related("domain")[:10],
    }
    return render(request, "waf/detail.html", context)
