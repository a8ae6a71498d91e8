"""Pages of events: the list with its filters and top lists, CSV, and why one happened."""

import uuid
from datetime import timedelta

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.pages import PageRequest, page
from domains.models import Domain
from lumos.listing import slice_after
from servers.models import Server
from waf import impact, selectors
from waf.events import EVENTS_PER_DAY
from waf.filters import EventFilter
from waf.models import Event
from waf.rules import catalogue

PAGE_SIZE = 50
TOP_HOURS = 24
ACTIONS = (("block", "Blocked"), ("detect", "Detected"), ("limit", "Limited"), ("challenge", "Sent to the bot check"))


@page()
def event_list(request: PageRequest) -> HttpResponse:
    """What policies stopped, newest first, with the most frequent values of the period."""
    found = EventFilter(request.GET, Event.objects.all())
    rows = slice_after(found.qs.select_related("domain", "server"), request.GET.get("cursor", ""), PAGE_SIZE)
    since = parse_datetime(request.GET.get("since", "")) or timezone.now() - timedelta(hours=TOP_HOURS)
    context = {
        "events": rows.rows,
        "older": rows.older,
        "filter": found,
        "query": request.GET,
        "actions": ACTIONS,
        "domains": Domain.objects.order_by("hostname")[:500],
        "servers": Server.objects.order_by("name")[:500],
        "top": selectors.top_lists(found.qs.filter(created_at__gte=since)),
        "top_hours": TOP_HOURS,
        "only_counted": selectors.only_counted(since),
        "cap": EVENTS_PER_DAY,
    }
    return render(request, "waf/events.html", context)


@page()
def event_csv(request: PageRequest) -> HttpResponseBase:
    """The events that the filters leave, as a download."""
    found = EventFilter(request.GET, Event.objects.all())
    if not found.is_valid():
        return event_list(request)
    lines = selectors.event_lines(found.qs.all(), request.account.pk)
    headers = {"Content-Disposition": 'attachment; filename="lumos-events.csv"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


@page()
def event_detail(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Why a request was stopped, and what would let it pass."""
    event = get_object_or_404(Event.objects.select_related("domain__policy", "server"), pk=pk)
    place, parameter = impact.place_of(event)
    context = {
        "event": event,
        "reasons": impact.reasons(event),
        "place": place,
        "parameter": parameter,
        "excerpts": impact.excerpts(event),
        "threshold": catalogue().thresholds[event.domain.policy.level],
        "choices": impact.choices(event, event.domain.policy),
        "looked_at": impact.LOOKED_AT,
    }
    return render(request, "waf/event.html", context)
