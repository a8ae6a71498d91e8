"""The page of what was served, and its CSV."""

import csv
import io
from datetime import timedelta
from typing import Any, NamedTuple

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.pages import PageRequest, page
from domains.models import Domain
from servers import analytics, charts
from servers.latency import PERCENTILES, Latency, served_and_waited
from servers.models import Server
from waf.models import Event
from waf.selectors import TOP_OF, top_of_blocked


class Period(NamedTuple):
    """A time that people choose, by the name in the address."""

    text: str
    length: timedelta
    step: analytics.Step


PERIODS = {
    "hour": Period("Last hour, live", timedelta(hours=1), analytics.Step.MINUTE),
    "day": Period("Last 24 hours", timedelta(days=1), analytics.Step.HOUR),
    "week": Period("Last 7 days", timedelta(days=7), analytics.Step.HOUR),
    "month": Period("Last 30 days", timedelta(days=30), analytics.Step.DAY),
    "quarter": Period("Last 90 days", timedelta(days=90), analytics.Step.DAY),
    "year": Period("Last year", timedelta(days=365), analytics.Step.DAY),
}
DEFAULT_PERIOD = "day"
CHOICES_MAX = 500


class AnalyticsForm(forms.Form):
    """Domain and server of the account; what is empty does not narrow."""

    domain: Any = forms.ModelChoiceField(None, required=False)
    server: Any = forms.ModelChoiceField(None, required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        fields: dict[str, Any] = self.fields
        fields["domain"].queryset, fields["server"].queryset = Domain.objects.all(), Server.objects.all()


class Chosen(NamedTuple):
    """What a request asks for: names of what is shown, and the series."""

    period: str
    periods: dict[str, Period]
    domain: Domain | None
    server: Server | None
    found: analytics.Series
    waited: Latency


def _chosen(request: PageRequest) -> Chosen:
    """Read the filters; one that means nothing is left out, a period beyond the plan's window is the longest in it."""
    window = analytics.window_of(request.account.pk)
    periods = {name: period for name, period in PERIODS.items() if period.length <= window} or {"hour": PERIODS["hour"]}
    asked = request.GET.get("period")
    period = asked if asked in PERIODS else DEFAULT_PERIOD
    if period not in periods:
        period = next(reversed(periods))
    form = AnalyticsForm(request.GET)
    form.is_valid()
    domain, server = form.cleaned_data.get("domain"), form.cleaned_data.get("server")
    span = analytics.last(periods[period].length, periods[period].step)
    found, waited = served_and_waited(span, domain=domain and domain.pk, server=server and server.pk)
    return Chosen(period, periods, domain, server, found, waited)


@page()
def analytics_page(request: PageRequest) -> HttpResponse:
    """Charts of a period, and what was blocked most."""
    chosen = _chosen(request)
    found, totals = chosen.found, chosen.found.totals
    narrowed = {name: row for name, row in (("domain", chosen.domain), ("server", chosen.server)) if row}
    events = Event.objects.filter(created_at__gte=found.span.since, **narrowed)
    errors = totals["status_5xx"] / totals["requests"] if totals["requests"] else 0.0
    context = {
        "chosen": chosen,
        "text": chosen.periods[chosen.period].text,
        "totals": totals,
        "error_percent": errors * 100,
        "charts": (
            ("requests", "Requests", charts.requests(found)),
            ("bandwidth", "Bandwidth", charts.bandwidth(found)),
            ("statuses", "Answers by status", charts.statuses(found)),
            ("blocked", "Why requests were blocked", charts.blocked(found)),
            ("latency", "Wait for origins", charts.latency(found, chosen.waited)),
        ),
        "waited": chosen.waited.whole,
        "step": found.span.step,
        "domains": _choices(Domain.objects.order_by("hostname"), chosen.domain),
        "servers": _choices(Server.objects.order_by("name"), chosen.server),
        "top": top_of_blocked(events),
        "top_of": TOP_OF,
    }
    return render(request, "servers/analytics.html", context)


def _choices(rows: Any, chosen: Any) -> list[Any]:
    """Return the first rows, and the chosen one if it is not among them."""
    first = list(rows[:CHOICES_MAX])
    return first if chosen is None or chosen in first else [chosen, *first]


@page()
def analytics_csv(request: PageRequest) -> HttpResponse:
    """The counts of the same period, as a download."""
    chosen = _chosen(request)
    found, waited = chosen.found, chosen.waited.points
    target = io.StringIO()
    lines = csv.writer(target)
    lines.writerow([str(found.span.step), *found.counts, *(f"{name}_ms" for name in PERCENTILES)])
    lines.writerows(
        [point.isoformat(), *numbers, *times.values()]
        for point, times, *numbers in zip(found.points, waited, *found.counts.values(), strict=True)
    )
    name = f"lumos-{found.span.step}s-{timezone.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(target.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)
