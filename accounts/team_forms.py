"""Forms of the team page."""

from django import forms

from accounts.models import Role
from lumos.forms import LumosForm


class InvitationForm(LumosForm):
    """Whom to invite, as what."""

    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput({"autocomplete": "off"}))
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER)


class RoleForm(LumosForm):
    """A member's role."""

    role = forms.ChoiceField(choices=Role.choices)
