"""Pages of channels: the matrix of kinds and channels, and one channel with its log."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from lumos.errors import AppError
from notifications import channels, confirmation, outbox, resending
from notifications.forms import ChannelForm, ChannelSettingsForm
from notifications.kinds import OFFERED, TRAITS
from notifications.models import Channel, Delivery

PAGE_SIZE = 50


def _shown(request: HttpRequest, form: ChannelForm) -> HttpResponse:
    rows = list(Channel.objects.all())
    matrix = [
        (kind, TRAITS[kind].about, [(channel, f"{channel.pk}/{kind}", channel.wants(kind)) for channel in rows])
        for kind in OFFERED
    ]
    return render(request, "notifications/channels.html", {"channels": rows, "matrix": matrix, "form": form})


@never_cache
@page()
def channel_list(request: PageRequest) -> HttpResponse:
    """Channels, what each is told of, and a new one; a webhook's secret is shown once."""
    outbox.ensure_default()
    form = ChannelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            channel, secret = channels.add_channel(actor=request.user, **form.cleaned_data)
        except AppError as error:
            form.show(error)
        else:
            return _detail(request, channel, secret=secret) if secret else redirect("channel", pk=channel.pk)
    return _shown(request, form)


@require_POST
@page(WRITE)
def matrix_save(request: PageRequest) -> HttpResponse:
    """Save which channel is told of what; a box that is not ticked is off."""
    ticked = set(request.POST.getlist("on"))
    listed = set(request.POST.getlist("channel"))
    for channel in Channel.objects.all():
        if str(channel.pk) in listed:
            choices: dict[str, Any] = {str(kind): False for kind in OFFERED if f"{channel.pk}/{kind}" not in ticked}
            channels.change_channel(channel=channel, actor=request.user, choices=choices)
    messages.success(request, "Saved.")
    return redirect("channels")


def _settings_form(channel: Channel, data: Any = None) -> ChannelSettingsForm:
    initial = {name: getattr(channel, name) for name in ("name", "target", "digest", "enabled")}
    form = ChannelSettingsForm(data, initial=initial)
    if channel.is_default or channel.kind == "chat":
        del form.fields["target"]
    if channel.kind != "email":
        del form.fields["digest"]
    return form


def _detail(request: HttpRequest, channel: Channel, **given: Any) -> HttpResponse:
    log = Delivery.objects.filter(channel=channel).select_related("notification")
    context = {
        "channel": channel,
        "form": _settings_form(channel),
        "is_unconfirmed": confirmation.needs(channel),
        "log": Paginator(log, PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "notifications/channel.html", context | given)


@never_cache
@page()
def channel_detail(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """One channel: its settings and its log."""
    channel = get_object_or_404(Channel.objects.all(), pk=pk)
    form = _settings_form(channel, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            channels.change_channel(channel=channel, actor=request.user, **form.cleaned_data)
            return redirect("channel", pk=pk)
        except AppError as error:
            form.show(error)
    return _detail(request, channel, form=form)


@require_POST
@page(WRITE)
def channel_test(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Tell the channel a test message and show how it goes."""
    channel = get_object_or_404(Channel.objects.all(), pk=pk)
    try:
        delivery = resending.send_test(channel=channel, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("channel", pk=pk)
    return redirect("notification", pk=delivery.notification_id)


@require_POST
@page(WRITE)
def channel_ask(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask an address again whether it agrees."""
    channel = get_object_or_404(Channel.objects.all(), pk=pk)
    try:
        with transaction.atomic():
            confirmation.ask(channel)
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("channel", pk=pk)


@never_cache
def channel_confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Let somebody without an account agree to get notifications: by a POST alone, as mail scanners follow links."""
    try:
        agrees = request.method == "POST"
        context: dict[str, Any] = {
            "wish": (confirmation.agree if agrees else confirmation.wish)(token),
            "agreed": agrees,
        }
    except AppError as error:
        context = {"error": error.detail}
    return render(request, "notifications/confirm.html", context, status=400 if "error" in context else 200)


@never_cache
@require_POST
@page(WRITE)
def channel_rotate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Give a webhook a new secret and show it once."""
    channel = get_object_or_404(Channel.objects.all(), pk=pk)
    try:
        secret = channels.rotate_secret(channel=channel, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("channel", pk=pk)
    channel.refresh_from_db()
    return _detail(request, channel, secret=secret)


@require_POST
@page(WRITE)
def channel_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Remove a channel with its log."""
    channel = get_object_or_404(Channel.objects.all(), pk=pk)
    try:
        channels.remove_channel(channel=channel, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("channel", pk=pk)
    messages.success(request, f"{channel.name} was removed.")
    return redirect("channels")
