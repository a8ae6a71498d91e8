"""Pages of the account: overview, API keys."""

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import api_keys
from accounts.models import ApiKey, Scope
from accounts.pages import PageRequest, page
from accounts.roles import Action, Thing
from lumos.forms import LumosForm

EXPIRY_DAYS = (("", "Never"), (30, "In 30 days"), (90, "In 90 days"), (365, "In a year"))


class ApiKeyForm(LumosForm):
    """Name, scope and expiry of a new key."""

    name = forms.CharField(max_length=100, help_text="What uses it, for example terraform.")
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.WRITE)
    expires = forms.TypedChoiceField(choices=EXPIRY_DAYS, coerce=int, empty_value=None, required=False)

    def values(self) -> dict[str, Any]:
        """Return what the service takes."""
        days = self.cleaned_data["expires"]
        expires_at = timezone.now() + timedelta(days=days) if days else None
        return {"name": self.cleaned_data["name"], "scope": self.cleaned_data["scope"], "expires_at": expires_at}


@never_cache
@page(Action.ADMIN, Thing.API_KEYS)
def api_key_list(request: PageRequest) -> HttpResponse:
    """Keys of the account; a new one is shown once."""
    form = ApiKeyForm(request.POST or None)
    key = None
    if request.method == "POST" and form.is_valid():
        _, key = api_keys.create_api_key(actor=request.user, **form.values())
        form = ApiKeyForm()
    context = {"keys": ApiKey.objects.select_related("created_by"), "form": form, "key": key, "now": timezone.now()}
    return render(request, "accounts/api_keys.html", context)


@require_POST
@page(Action.ADMIN, Thing.API_KEYS)
def api_key_revoke(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """End a key at once."""
    row = get_object_or_404(ApiKey.objects.all(), pk=pk)
    api_keys.revoke_api_key(key=row, actor=request.user)
    messages.success(request, f"{row.prefix}… no longer works.")
    return redirect("api-keys")
