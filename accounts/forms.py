"""Fields that sign-up asks for beyond e-mail and password."""

from typing import Any

from django import forms
from django.http import HttpRequest

from accounts.invitations import invitation_by_token
from accounts.models import User
from accounts.personal_views import SESSION_INVITATION
from accounts.services import create_account


class SignupDetails(forms.Form):
    """Name and optional company; the company names the account."""

    name = forms.CharField(max_length=150, label="Your name", widget=forms.TextInput({"autocomplete": "name"}))
    company = forms.CharField(
        max_length=150, required=False, label="Company", widget=forms.TextInput({"autocomplete": "organization"})
    )

    def signup(self, request: HttpRequest, user: User) -> None:
        """Called by allauth after it has saved the user. Who comes by an invitation needs no account of their own."""
        data: dict[str, Any] = self.cleaned_data
        user.name = data["name"]
        user.save(update_fields=["name"])
        if invitation_by_token(request.session.get(SESSION_INVITATION, "")) is None:
            create_account(owner=user, name=data["company"] or f"{data['name']}'s account")
