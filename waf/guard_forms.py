"""Forms of rate rules and the bot check."""

from typing import Any

from django import forms

from lumos.forms import LumosForm
from lumos_agent.guard import BotCheck

WINDOWS = ((10, "10 seconds"), (60, "minute"), (600, "10 minutes"), (3600, "hour"))
KEYS = (
    ("address", "address (IPv6: /64)"),
    ("address-and-path", "address and path"),
    ("token", "token in a header"),
    ("cookie", "cookie"),
)
ACTIONS = (("limit", "answer 429"), ("challenge", "check the browser"), ("ban", "ban for an hour on all shields"))
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RateForm(LumosForm):
    """One rate rule."""

    id = forms.CharField(max_length=32, label="Id", widget=forms.TextInput({"placeholder": "login"}))
    requests = forms.IntegerField(min_value=1, max_value=100_000, initial=60)
    window_seconds = forms.TypedChoiceField(choices=WINDOWS, coerce=int, initial=60, label="per")
    key = forms.ChoiceField(choices=KEYS, label="for each")
    name = forms.CharField(max_length=64, required=False, label="Header or cookie")
    path = forms.CharField(max_length=128, required=False, label="Path and below")
    methods = forms.MultipleChoiceField(choices=[(m, m) for m in _METHODS], required=False)
    statuses = forms.CharField(max_length=80, required=False, label="Only answers", help_text="Such as 401,403.")
    action = forms.ChoiceField(choices=ACTIONS)

    def rule(self) -> dict[str, Any]:
        """Return the rule as the API takes it."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", [])}


class BotCheckForm(LumosForm):
    """When visitors are checked, and who is exempt. Lists have one item per line."""

    mode = forms.ChoiceField(
        choices=(("off", "Off"), ("suspicious", "Suspicious visitors"), ("always", "Everybody")), label="Check"
    )
    level = forms.ChoiceField(choices=(("low", "Easy"), ("medium", "Medium"), ("high", "Hard")), label="Puzzle")
    exempt_paths = forms.CharField(required=False, widget=forms.Textarea({"rows": 2}), label="Exempt paths")
    token_headers = forms.CharField(
        required=False, widget=forms.Textarea({"rows": 1}), label="Requests with these headers are exempt"
    )

    @classmethod
    def of(cls, check: BotCheck) -> "BotCheckForm":
        """Return the form with the present settings."""
        paths, headers = "\n".join(check.exempt_paths), "\n".join(check.token_headers)
        return cls(initial={"mode": check.mode, "level": check.level, "exempt_paths": paths, "token_headers": headers})

    def changes(self) -> dict[str, Any]:
        """Return what the API takes."""
        lists = {name: self.cleaned_data[name].split() for name in ("exempt_paths", "token_headers")}
        return {"mode": self.cleaned_data["mode"], "level": self.cleaned_data["level"], **lists}
