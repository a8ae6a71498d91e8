"""Forms of rate rules and the bot check."""

from typing import Any

from django import forms

from lumos.forms import LumosForm
from lumos_agent.guard import BotCheck
from waf.models import WINDOWS

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

    CHOICES = ("mode", "level", "escalation")
    LISTS = ("exempt_paths", "token_headers")

    mode = forms.ChoiceField(
        choices=(("off", "Off"), ("suspicious", "Suspicious visitors"), ("always", "Everybody")), label="Check"
    )
    level = forms.ChoiceField(choices=(("low", "Easy"), ("medium", "Medium"), ("high", "Hard")), label="Puzzle")
    escalation = forms.ChoiceField(
        choices=(("off", "Only tell me"), ("auto", "Check everybody until it is calm")),
        label="When a shield sees an attack",
        help_text=(
            "An attack is five times the usual requests of this site, or many errors or failed checks beside twice as "
            "many. Shields decide this by themselves; it ends by itself after some calm minutes."
        ),
    )
    exempt_paths = forms.CharField(required=False, widget=forms.Textarea({"rows": 2}), label="Exempt paths")
    token_headers = forms.CharField(
        required=False, widget=forms.Textarea({"rows": 1}), label="Requests with these headers are exempt"
    )

    @classmethod
    def of(cls, check: BotCheck) -> "BotCheckForm":
        """Return the form with the present settings."""
        own = {name: getattr(check, name) for name in cls.CHOICES}
        lists = {name: "\n".join(getattr(check, name)) for name in cls.LISTS}
        return cls(initial=own | lists)

    def changes(self) -> dict[str, Any]:
        """Return what the API takes."""
        own = {name: self.cleaned_data[name] for name in self.CHOICES}
        return own | {name: self.cleaned_data[name].split() for name in self.LISTS}
