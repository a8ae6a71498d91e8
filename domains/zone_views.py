"""Pages of zones."""

import uuid
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains import dnssec, zones
from domains.dnssec_status import signers_of
from domains.zone_file import export_zone_file, import_zone_file
from domains.zone_forms import RecordForm, ServersForm, ZoneForm, ZoneImportForm
from domains.zone_models import RecordType, Zone, ZoneRecord
from domains.zone_parts import absolute, shields_of
from lumos.errors import AppError

PAGE_SIZE = 50


@page()
def zone_list(request: PageRequest) -> HttpResponse:
    """Zones of the account, and a form for another one."""
    form = ZoneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            zone = zones.add_zone(actor=request.user, **form.cleaned_data)
            return redirect("zone", pk=zone.pk)
        except AppError as error:
            form.show(error)
    rows = Zone.objects.annotate(size=Count("records")).prefetch_related("nameservers__server").order_by("name")
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "domains/zones.html", {"zones": found, "form": form})


def _shown(request: HttpRequest, zone: Zone, **given: Any) -> HttpResponse:
    """Render a zone's page; `given` are forms that were refused, and what was found out."""
    search = request.GET.get("q", "").strip()
    rows = zone.records.select_related("server")
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(data__icontains=search) | Q(type__iexact=search))
    records = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    names = {absolute(row.name, zone.name) for row in records if row.type == RecordType.PROXIED}
    shields = shields_of(names)
    context = {
        "zone": zone,
        "nameservers": zone.nameservers.select_related("server"),
        "signers": signers_of(zone),
        "records": records,
        "rows": [(row, shields.get(absolute(row.name, zone.name), [])) for row in records],
        "search": search,
        "record_form": RecordForm(),
        "servers_form": ServersForm(zone=zone),
        "import_form": ZoneImportForm(),
    }
    return render(request, "domains/zone.html", context | given)


def _zone(pk: uuid.UUID) -> Zone:
    row: Zone = get_object_or_404(Zone.objects.all(), pk=pk)
    return row


@page()
def zone_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One zone: what to enter at the registrar, and its records."""
    return _shown(request, _zone(pk))


@require_POST
@page(WRITE)
def zone_servers(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change the servers of a zone."""
    zone, form = _zone(pk), ServersForm(request.POST)
    if form.is_valid():
        try:
            zones.change_zone(zone_id=pk, actor=request.user, servers=list(form.cleaned_data["servers"]))
            return redirect("zone", pk=pk)
        except AppError as error:
            form.show(error)
    return _shown(request, zone, servers_form=form)


@require_POST
@page(WRITE)
def zone_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Serve a zone no longer."""
    zone = _zone(pk)
    zones.remove_zone(zone=zone, actor=request.user)
    messages.success(request, f"The zone {zone.name} is no longer served.")
    return redirect("zones")


@require_POST
@page(WRITE)
def zone_check(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask the DNS whether visitors find the zone."""
    zone = _zone(pk)
    return _shown(request, zone, delegation=dnssec.check(zone))


@require_POST
@page(WRITE)
def zone_dnssec(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Have a zone signed, or signed no longer."""
    zone, signed = _zone(pk), request.POST.get("signed") == "on"
    try:
        dnssec.switch(zone=zone, signed=signed, anyway=request.POST.get("anyway") == "on", actor=request.user)
    except AppError as error:
        return _shown(request, _zone(pk), signing_error=error.detail)
    return redirect("zone", pk=pk)


@page()
def zone_file(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Download the zone file."""
    zone = _zone(pk)
    headers = {"Content-Disposition": f'attachment; filename="{zone.name}.zone"'}
    return HttpResponse(export_zone_file(zone), content_type="text/dns; charset=utf-8", headers=headers)


@require_POST
@page(WRITE)
def zone_import(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Take the records of a zone file over, or only count."""
    zone, form = _zone(pk), ZoneImportForm(request.POST)
    if form.is_valid():
        try:
            done = import_zone_file(zone_id=pk, actor=request.user, **form.cleaned_data)
        except AppError as error:
            form.show(error)
        else:
            if form.cleaned_data["dry_run"] or done.refused:
                return _shown(request, zone, import_form=form, imported=done)
            messages.success(request, f"Added {done.added}, removed {done.removed}; {done.kept} were there already.")
            return redirect("zone", pk=pk)
    return _shown(request, zone, import_form=form)


@require_POST
@page(WRITE)
def record_add(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Add a record."""
    zone, form = _zone(pk), RecordForm(request.POST)
    if form.is_valid():
        try:
            zones.add_record(zone_id=pk, given=form.record(), actor=request.user)
            return redirect("zone", pk=pk)
        except AppError as error:
            form.show(error)
    return _shown(request, zone, record_form=form)


@page(WRITE)
def record_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Change a record."""
    record = get_object_or_404(ZoneRecord.objects.select_related("zone"), pk=pk)
    form = RecordForm(request.POST or None, record=record)
    if request.method == "POST" and form.is_valid():
        try:
            zones.change_record(record_id=pk, actor=request.user, **asdict(form.record()))
            return redirect("zone", pk=record.zone_id)
        except AppError as error:
            form.show(error)
    return render(request, "domains/record.html", {"form": form, "record": record, "zone": record.zone})


@require_POST
@page(WRITE)
def record_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Remove a record."""
    record = get_object_or_404(ZoneRecord.objects.all(), pk=pk)
    try:
        zones.remove_record(record=record, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("zone", pk=record.zone_id)
