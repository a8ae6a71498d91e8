"""Forms of channels and maintenance windows."""

from typing import Any

from django import forms

from domains.models import Domain
from lumos.forms import LumosForm
from notifications.models import ChannelKind, Digest
from notifications.transports.chat import SERVICES
from servers.models import Server

CHATS = "; ".join(f"{service.name} ({service.example})" for service in SERVICES)


class ChannelForm(LumosForm):
    """A new channel."""

    kind = forms.ChoiceField(choices=ChannelKind.choices, label="Kind")
    name = forms.CharField(max_length=100, help_text="For example On call.")
    target = forms.CharField(
        max_length=500, label="Address", help_text="An e-mail address; a webhook's URL; of a chat: " + CHATS
    )


class ChannelSettingsForm(LumosForm):
    """What can be changed about a channel."""

    name = forms.CharField(max_length=100)
    target = forms.CharField(max_length=500, label="Address", required=False)
    digest = forms.ChoiceField(choices=Digest.choices, label="What is not urgent", required=False)
    enabled = forms.BooleanField(label="Switched on", required=False)


class MaintenanceForm(LumosForm):
    """A new window; times are UTC."""

    server: "forms.ModelChoiceField[Any]" = forms.ModelChoiceField(queryset=None, required=False, empty_label="—")
    domain: "forms.ModelChoiceField[Any]" = forms.ModelChoiceField(queryset=None, required=False, empty_label="—")
    starts_at = forms.DateTimeField(label="From (UTC)", widget=forms.DateTimeInput({"type": "datetime-local"}))
    ends_at = forms.DateTimeField(label="Until (UTC)", widget=forms.DateTimeInput({"type": "datetime-local"}))
    note = forms.CharField(max_length=200, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["server"].queryset = Server.objects.order_by("name")  # type: ignore[attr-defined]
        self.fields["domain"].queryset = Domain.objects.order_by("hostname")  # type: ignore[attr-defined]
