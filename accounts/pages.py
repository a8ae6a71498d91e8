"""The door of every dashboard page: signed in, member of an account, allowed to."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from accounts.models import User
from accounts.roles import Action, Grants, Thing

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


class PageRequest(HttpRequest):
    """What a page's view can rely on."""

    user: User
    account: Any
    grants: Grants


def page(needs: Action = Action.READ, thing: Thing = Thing.CONFIGURATION) -> Callable[[View], View]:
    """Guard a view: reading asks for `needs` of `thing`, every other method for at least WRITE as well."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.locked_account is not None:
                return render(request, "accounts/second_factor.html", status=403)
            if request.account is None:
                return render(request, "accounts/no_account.html", status=403)
            required = {needs} | (set() if request.method in ("GET", "HEAD") else {Action.WRITE})
            if not all(request.grants.may(action, thing) for action in required):
                raise PermissionDenied("Your role in this account does not allow that. Ask an owner or admin.")
            return view(request, *args, **kwargs)

        return cast(View, login_required(guarded))

    return decorate
