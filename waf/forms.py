"""Forms of the WAF pages."""

from django import forms

from lumos.forms import LumosForm
from waf.models import Level, ListKind, Mode


class PolicyForm(LumosForm):
    """Mode and level."""

    mode = forms.ChoiceField(choices=Mode.choices)
    level = forms.ChoiceField(choices=Level.choices)


class ListEntryForm(LumosForm):
    """An address or network for one of the lists."""

    kind = forms.ChoiceField(choices=ListKind.choices, label="List")
    network = forms.CharField(
        max_length=64, label="Address or network", widget=forms.TextInput({"placeholder": "203.0.113.0/24"})
    )
    note = forms.CharField(max_length=200, required=False)
