"""The door of every dashboard page: signed in, member of an account, allowed to."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import Scope, User
from accounts.permissions import READ, WRITE

View = Callable[..., HttpResponse]


class PageRequest(HttpRequest):
    """What a page's view can rely on."""

    user: User
    account: Any
    allowed: frozenset[Scope]


def page(needs: Scope = READ) -> Callable[[View], View]:
    """Guard a view: reading asks for `needs`, every other method for at least WRITE."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.account is None:
                return render(request, "accounts/no_account.html", status=403)
            required = {needs} | (set() if request.method in ("GET", "HEAD") else {WRITE})
            if not required <= request.allowed:
                raise PermissionDenied("Your role in this account does not allow that. Ask an owner or admin.")
            return view(request, *args, **kwargs)

        guarded.needs = needs  # type: ignore[attr-defined]
        return login_required(guarded)

    return decorate
