"""Forms of the billing page."""

from typing import Any

from django import forms

from billing import money
from billing.models import Plan
from lumos.forms import LumosForm


class CreditsField(forms.CharField):
    """An amount of credits; its value is in micro-credits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, widget=forms.TextInput({"inputmode": "decimal"}), **options)

    def clean(self, value: Any) -> Any:
        """Return micro-credits."""
        try:
            return money.parsed(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class TopUpForm(LumosForm):
    """How many credits to buy."""

    amount = CreditsField(label="Credits")


class PlanForm(LumosForm):
    """Which plan to have."""

    plan = forms.ModelChoiceField(Plan.objects.filter(is_offered=True))
