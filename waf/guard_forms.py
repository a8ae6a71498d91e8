"""Forms of rate rules and the bot check."""

from typing import Any

from django import forms
from django.forms import BoundField
from msgspec import structs

from lumos.errors import AppError
from lumos.forms import LumosForm
from lumos_agent.guard import BotCheck, RateRule
from waf.models import WINDOWS

KEYS = (
    ("address", "address (IPv6: /64)"),
    ("address-and-path", "address and path"),
    ("token", "token in a header"),
    ("cookie", "cookie"),
)
ACTIONS = (("limit", "answer 429"), ("challenge", "check the browser"), ("ban", "ban for an hour on all shields"))
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _GuardForm(LumosForm):
    """A form for a part of a guard, whose mistakes have places such as rates[0].path."""

    def show(self, error: AppError) -> None:
        """Attach a refusal to the field that its place ends in, or to the whole form."""
        last = (error.field or "").rpartition(".")[2].partition("[")[0]
        self.add_error(last if last in self.fields else None, error.detail)


class RateForm(_GuardForm):
    """One rate rule."""

    id = forms.CharField(
        max_length=32,
        label="Name",
        widget=forms.TextInput({"placeholder": "login"}),
        help_text="As events name it: lower-case letters, digits and hyphens.",
    )
    requests = forms.IntegerField(min_value=1, max_value=100_000, initial=60)
    window_seconds = forms.TypedChoiceField(choices=WINDOWS, coerce=int, initial=60, label="per")
    key = forms.ChoiceField(choices=KEYS, label="for each")
    name = forms.CharField(
        max_length=64, required=False, label="Its header or cookie", help_text="For token and cookie only."
    )
    action = forms.ChoiceField(choices=ACTIONS, label="Over the limit")
    path = forms.CharField(max_length=128, required=False, label="Only at this path and below")
    methods = forms.MultipleChoiceField(
        choices=[(m, m) for m in _METHODS],
        required=False,
        label="Only these methods",
        widget=forms.CheckboxSelectMultiple,
    )
    header = forms.CharField(max_length=64, required=False, label="Only with this header")
    statuses = forms.CharField(
        max_length=80,
        required=False,
        label="Only answers with these codes",
        help_text="Such as 401,403 for failed sign-ins; empty counts all requests.",
    )

    def main_fields(self) -> list[BoundField]:
        """Return how many requests of whom are too many, and what follows."""
        return [self[name] for name in ("id", "requests", "window_seconds", "key", "name", "action")]

    def condition_fields(self) -> list[BoundField]:
        """Return which requests count."""
        return [self[name] for name in ("path", "methods", "header", "statuses")]

    @classmethod
    def of(cls, rule: RateRule) -> "RateForm":
        """Return the form with a rule."""
        return cls(initial=structs.asdict(rule))

    def rule(self) -> dict[str, Any]:
        """Return the rule as the API takes it."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", [])}


class BotCheckForm(_GuardForm):
    """When visitors are checked, and who is exempt. Lists have one item per line."""

    CHOICES = ("mode", "level", "escalation", "exempt_methods")
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
            "many. Shields decide this by themselves; it ends by itself after some calm minutes. Meanwhile "
            "programs that are not exempt get 403."
        ),
    )
    exempt_paths = forms.CharField(
        required=False, widget=forms.Textarea({"rows": 2}), label="Exempt paths", help_text="And below; one per line."
    )
    exempt_methods = forms.MultipleChoiceField(
        choices=[(m, m) for m in _METHODS],
        required=False,
        label="Exempt methods",
        widget=forms.CheckboxSelectMultiple,
    )
    token_headers = forms.CharField(
        required=False,
        widget=forms.Textarea({"rows": 1}),
        label="Exempt headers",
        help_text="Requests of programs that bear one of them, such as X-Api-Key, are exempt; one per line.",
    )

    @classmethod
    def of(cls, check: BotCheck) -> "BotCheckForm":
        """Return the form with the present settings."""
        own = {name: getattr(check, name) for name in cls.CHOICES}
        lists = {name: "\n".join(getattr(check, name)) for name in cls.LISTS}
        return cls(initial=own | lists)

    def main_fields(self) -> list[BoundField]:
        """Return what decides when visitors are checked."""
        return [self[name] for name in ("mode", "level", "escalation")]

    def exemption_fields(self) -> list[BoundField]:
        """Return who need not pass the check."""
        return [self[name] for name in ("exempt_paths", "exempt_methods", "token_headers")]

    def changes(self) -> dict[str, Any]:
        """Return what the API takes."""
        own = {name: self.cleaned_data[name] for name in self.CHOICES}
        return own | {name: self.cleaned_data[name].split() for name in self.LISTS}
