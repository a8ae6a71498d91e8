"""The page of the account itself: its name, its rule for members, export, end."""

from collections.abc import Callable

from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import deletion, services
from accounts.export import archive
from accounts.pages import PageRequest, page
from accounts.roles import Action, Thing
from lumos.errors import AppError
from lumos.forms import LumosForm


class NameForm(LumosForm):
    """The account's name."""

    name = forms.CharField(max_length=150)


class SecondFactorForm(LumosForm):
    """The account's rule for its members."""

    requires_second_factor = forms.BooleanField(required=False, label="Everybody needs a second factor")


class DeletionForm(LumosForm):
    """The account's name, typed."""

    confirmation = forms.CharField(max_length=150, label="Type the account's name", strip=False)


def _shown(request: PageRequest, **bound: LumosForm) -> HttpResponse:
    account = request.account
    context = {
        "name_form": NameForm(initial={"name": account.name}),
        "factor_form": SecondFactorForm(initial={"requires_second_factor": account.requires_second_factor}),
        "deletion_form": DeletionForm(),
    }
    return render(request, "accounts/account.html", context | bound)


@page(Action.READ, Thing.ACCOUNT)
def account_page(request: PageRequest) -> HttpResponse:
    """Show it."""
    return _shown(request)


def _saved(request: PageRequest, name: str, form: LumosForm, act: Callable[[], None], said: str) -> HttpResponse:
    if form.is_valid():
        try:
            act()
            messages.success(request, said)
            return redirect("account")
        except AppError as error:
            form.show(error)
    return _shown(request, **{name: form})


@require_POST
@page(Action.ADMIN, Thing.ACCOUNT)
def account_rename(request: PageRequest) -> HttpResponse:
    """Give it another name."""
    form = NameForm(request.POST)

    def act() -> None:
        services.change_account(account=request.account, actor=request.user, **form.cleaned_data)

    return _saved(request, "name_form", form, act, "Saved.")


@require_POST
@page(Action.ADMIN, Thing.ACCOUNT)
def account_second_factor(request: PageRequest) -> HttpResponse:
    """Ask a second factor of its members, or no longer."""
    form = SecondFactorForm(request.POST)

    def act() -> None:
        services.change_account(account=request.account, actor=request.user, **form.cleaned_data)

    return _saved(request, "factor_form", form, act, "Saved.")


@page(Action.ADMIN, Thing.ACCOUNT)
def account_export(request: PageRequest) -> HttpResponseBase:
    """Everything as one archive."""
    headers = {"Content-Disposition": 'attachment; filename="lumos-account.zip"'}
    return StreamingHttpResponse(archive(request.account), content_type="application/zip", headers=headers)


@require_POST
@page(Action.ADMIN, Thing.ACCOUNT)
def account_delete(request: PageRequest) -> HttpResponse:
    """Delete it for good."""
    form = DeletionForm(request.POST)
    if not form.is_valid():
        return _shown(request, deletion_form=form)
    try:
        confirmation = form.cleaned_data["confirmation"]
        deletion.delete_account(account=request.account, confirmation=confirmation, actor=request.user)
    except AppError as error:
        form.show(error)
        return _shown(request, deletion_form=form)
    logout(request)
    messages.success(request, "The account and everything in it is deleted.")
    return redirect("account_login")
