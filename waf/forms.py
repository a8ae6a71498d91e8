"""Forms of the WAF pages."""

from django import forms

from lumos.errors import AppError
from lumos.forms import LumosForm
from waf.list_import import ImportMode
from waf.models import Level, ListKind, Mode


class PolicyForm(LumosForm):
    """Mode and level."""

    mode = forms.ChoiceField(choices=Mode.choices)
    level = forms.ChoiceField(choices=Level.choices)


class _ConfirmedForm(LumosForm):
    """Asks for a confirmation only after the service has asked for it."""

    confirm_self_lockout = forms.BooleanField(
        required=False, label="Yes, deny my own address too", widget=forms.HiddenInput
    )

    def show(self, error: AppError) -> None:
        """Show the checkbox with the refusal that asks for it."""
        if error.field == "confirm_self_lockout":
            self.fields["confirm_self_lockout"].widget = forms.CheckboxInput({"class": "form-check-input d-block"})
        super().show(error)


class ListEntryForm(_ConfirmedForm):
    """An entry for one of the lists."""

    kind = forms.ChoiceField(choices=ListKind.choices, label="List")
    network = forms.CharField(
        max_length=80,
        label="Entry",
        widget=forms.TextInput({"placeholder": "203.0.113.0/24"}),
        help_text="Address or network, AS64500, country:DE or agent:curl.",
    )
    note = forms.CharField(max_length=200, required=False)
    expires_at = forms.DateTimeField(
        required=False,
        label="Until (UTC)",
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


class ListImportForm(_ConfirmedForm):
    """A list as text."""

    kind = forms.ChoiceField(choices=ListKind.choices, label="List", initial=ListKind.DENY)
    mode = forms.ChoiceField(choices=ImportMode.choices)
    text = forms.CharField(
        label="Entries",
        widget=forms.Textarea({"rows": 8, "class": "font-monospace", "spellcheck": "false"}),
        help_text="One a line: addresses, networks, ranges like 192.0.2.10-192.0.2.20. What follows a # is left out.",
    )
    note = forms.CharField(max_length=200, required=False)
    dry_run = forms.BooleanField(required=False, label="Only count", help_text="Changes nothing.")


class SubscriptionForm(LumosForm):
    """A list at a URL."""

    kind = forms.ChoiceField(choices=ListKind.choices, label="List", initial=ListKind.DENY)
    url = forms.CharField(
        max_length=500, label="URL", widget=forms.URLInput({"placeholder": "https://lists.example.com/deny.txt"})
    )
    interval_hours = forms.IntegerField(min_value=1, max_value=720, initial=24, label="Fetch every (hours)")


class WafSettingsForm(LumosForm):
    """What holds for the WAF of the whole account."""

    share_bans = forms.BooleanField(
        required=False,
        label="Share bans between my shields",
        help_text="A client that one shield bans is denied by all of them until the ban ends.",
    )
