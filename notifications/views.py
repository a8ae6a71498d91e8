"""Pages of notifications: what happened, how telling went, maintenance."""

import uuid

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from lumos.errors import AppError
from notifications import maintenance, resending, selectors
from notifications.filters import NotificationFilter
from notifications.forms import MaintenanceForm
from notifications.kinds import Kind
from notifications.models import Delivery, MaintenanceWindow, Notification

PAGE_SIZE = 50


@page()
def notification_list(request: HttpRequest) -> HttpResponse:
    """What happened, newest first, with how telling went."""
    found = NotificationFilter(request.GET, Notification.objects.all())
    context = {
        "rows": Paginator(selectors.told(found.qs), PAGE_SIZE).get_page(request.GET.get("page")),
        "kinds": Kind.choices,
        "query": request.GET,
    }
    return render(request, "notifications/list.html", context)


@page()
def notification_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One notification and its deliveries, with every attempt."""
    row = get_object_or_404(Notification.objects.select_related("server", "domain"), pk=pk)
    deliveries = row.deliveries.select_related("channel").prefetch_related("attempts").order_by("created_at")
    return render(request, "notifications/detail.html", {"row": row, "deliveries": deliveries})


@require_POST
@page(WRITE)
def delivery_resend(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Try a delivery again at once."""
    delivery = get_object_or_404(Delivery.objects.all(), pk=pk)
    try:
        resending.resend(delivery=delivery)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("notification", pk=delivery.notification_id)


@page()
def maintenance_list(request: PageRequest) -> HttpResponse:
    """Times in which nothing is told; a new one."""
    form = MaintenanceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            maintenance.add_window(actor=request.user, **form.cleaned_data)
            return redirect("maintenance")
        except AppError as error:
            form.show(error)
    windows = MaintenanceWindow.objects.select_related("server", "domain", "created_by")
    context = {"form": form, "windows": Paginator(windows, PAGE_SIZE).get_page(request.GET.get("page"))}
    return render(request, "notifications/maintenance.html", context)


@require_POST
@page(WRITE)
def maintenance_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """End a window, or take it off the plan."""
    window = get_object_or_404(MaintenanceWindow.objects.all(), pk=pk)
    maintenance.remove_window(window=window, actor=request.user)
    return redirect("maintenance")
