"""Forms of the WAF pages."""

from typing import Any

from django import forms

from lumos.errors import AppError
from lumos.forms import LumosForm
from lumos_agent.conditions import EXPRESSION_MAX
from lumos_agent.waf_try import REQUEST_BYTES_MAX
from waf import custom_rules
from waf.list_import import ImportMode
from waf.models import WINDOWS, Level, ListKind, Mode, Policy, RuleAction
from waf.rules import catalogue

GROUP = "group-"


class PolicyForm(LumosForm):
    """Mode, level, and the mode of each group of rules."""

    mode = forms.ChoiceField(choices=Mode.choices)
    level = forms.ChoiceField(choices=Level.choices)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, about in catalogue().groups.items():
            select = forms.Select(attrs={"class": "form-select"})
            choices = [("", "As the policy"), *Mode.choices]
            self.fields[GROUP + name] = forms.ChoiceField(
                choices=choices, required=False, label=name, help_text=about, widget=select
            )

    @classmethod
    def of(cls, policy: Policy) -> "PolicyForm":
        """Return the form as a policy is."""
        groups = {GROUP + name: mode for name, mode in policy.groups.items()}
        return cls(initial={"mode": policy.mode, "level": policy.level, **groups})

    @property
    def main_fields(self) -> list[forms.BoundField]:
        """Mode and level."""
        return [self["mode"], self["level"]]

    @property
    def group_fields(self) -> list[forms.BoundField]:
        """One field for each group."""
        return [self[name] for name in self.fields if name.startswith(GROUP)]

    @property
    def values(self) -> dict[str, Any]:
        """What the service takes."""
        clean = self.cleaned_data
        groups = {name.removeprefix(GROUP): mode for name, mode in clean.items() if name.startswith(GROUP) and mode}
        return {"mode": clean["mode"], "level": clean["level"], "groups": groups}


class ExclusionForm(LumosForm):
    """Findings that do not count; what is empty is any."""

    rule = forms.CharField(
        max_length=48, required=False, label="Rule or group", widget=forms.TextInput({"placeholder": "sqli-union"})
    )
    path = forms.CharField(
        max_length=128, required=False, label="Path and below", widget=forms.TextInput({"placeholder": "/editor"})
    )
    parameter = forms.CharField(max_length=64, required=False, widget=forms.TextInput({"placeholder": "content"}))
    note = forms.CharField(max_length=200, required=False)


class RuleForm(LumosForm):
    """A custom rule."""

    name = forms.CharField(max_length=100)
    action = forms.ChoiceField(choices=RuleAction.choices, initial=RuleAction.LOG)
    requests = forms.IntegerField(
        min_value=0, max_value=100_000, required=False, help_text="Of one client, for the action Limit requests."
    )
    window_seconds = forms.TypedChoiceField(choices=WINDOWS, coerce=int, initial=60, label="per")
    position = forms.IntegerField(
        min_value=0, max_value=32_767, required=False, help_text="Lower ones are asked first."
    )
    expires_at = forms.DateTimeField(
        required=False, label="Expires (UTC)", widget=forms.DateTimeInput({"type": "datetime-local"}, "%Y-%m-%dT%H:%M")
    )
    enabled = forms.BooleanField(required=False, initial=True)
    expression = forms.CharField(
        max_length=EXPRESSION_MAX,
        label="Condition",
        widget=forms.Textarea({"rows": 4, "spellcheck": "false"}),
        help_text=custom_rules.LANGUAGE,
    )


class TryForm(LumosForm):
    """A raw request."""

    request = forms.CharField(
        label="Request",
        strip=False,
        max_length=REQUEST_BYTES_MAX,
        widget=forms.Textarea({"rows": 12, "spellcheck": "false"}),
        help_text="The request as it is sent: first line, headers, an empty line, body. It is judged and forgotten.",
    )


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
