"""The page of the account's certificate authority."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from accounts.pages import PageRequest, page
from accounts.permissions import WRITE
from domains.acme import authority
from domains.authorities import CHOICES, put_authority, recipients
from domains.models import CertificateAuthority
from lumos.errors import AppError
from lumos.forms import LumosForm

_OTHER = "other"


class AuthorityForm(LumosForm):
    """A known CA or the directory of another one; `keys` is what the browser sealed."""

    choice = forms.ChoiceField(label="Certificate authority")
    directory_url = forms.CharField(
        required=False,
        max_length=520,
        label="ACME directory of another one",
        help_text="https://ca.example.com/acme/directory",
    )
    email = forms.EmailField(required=False, label="E-mail address", help_text="Where the CA may write to.")
    external_key_id = forms.CharField(
        required=False,
        max_length=256,
        label="Key id of your account there",
        help_text="Only if the CA asks for it (EAB).",
    )
    keys = forms.JSONField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, row: CertificateAuthority | None) -> None:
        by_url = {choice.directory_url: name for name, choice in CHOICES.items()}
        initial = {"choice": ""}
        if row is not None:
            names = ("directory_url", "email", "external_key_id")
            initial = {name: getattr(row, name) for name in names} | {"choice": by_url.get(row.directory_url, _OTHER)}
        super().__init__(data, initial=initial)
        standard = settings.ACME["directory_url"] if settings.ACME else "none"
        self.fields["choice"].required = False
        self.fields["choice"].choices = [  # type: ignore[attr-defined]
            ("", f"This installation's ({standard})"),
            *((name, choice.title) for name, choice in CHOICES.items()),
            (_OTHER, "Another one"),
        ]

    def clean_keys(self) -> dict[str, str]:
        """Return {server id: sealed key}."""
        keys = self.cleaned_data["keys"] or {}
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            raise forms.ValidationError("The browser sent no sealed keys; load this page again.")
        return keys

    def values(self) -> dict[str, Any]:
        """Return the arguments of `put_authority`."""
        data = self.cleaned_data
        known = CHOICES.get(data["choice"])
        url = known.directory_url if known else data["directory_url"] * (data["choice"] == _OTHER)
        return {
            "directory_url": url,
            "email": data["email"],
            "external_key_id": data["external_key_id"],
            "sealed_keys": data["keys"],
        }

    def show(self, error: AppError) -> None:
        """Attach a refusal to its field; that of the sealed keys has none that people see."""
        self.add_error(error.field if error.field in self.fields and error.field != "keys" else None, error.detail)


@page(WRITE)
def certificate_authority(request: PageRequest) -> HttpResponse:
    """Choose the CA; the browser seals the key of an external account to each shield."""
    form = AuthorityForm(request.POST or None, authority())
    if request.method == "POST" and form.is_valid():
        values = form.values()
        if form.cleaned_data["choice"] == _OTHER and not values["directory_url"]:
            form.add_error("directory_url", "Enter the directory of that CA.")
        else:
            try:
                put_authority(**values, actor=request.user)
                messages.success(request, "Your shields order their next certificates from there.")
                return redirect("certificate-authority")
            except AppError as error:
                form.show(error)
    return render(request, "domains/authority.html", {"form": form, "recipients": recipients()})
