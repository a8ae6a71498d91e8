"""Opens the tenant scope of a signed-in person's active account for the time of a request."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars, clear_contextvars

from accounts import audit, tenancy
from accounts.models import Membership
from accounts.roles import Grants
from accounts.second_factor import is_missing
from accounts.selectors import chosen, memberships_of

SESSION_ACCOUNT = "account_id"


class TenantMiddleware:
    """Sets `request.account`, `role` and `grants`; closes every scope that the request opened.

    `locked_account` is set instead while the account asks for a second factor that its member lacks.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, http_request: HttpRequest) -> HttpResponseBase:
        request: Any = http_request
        clear_contextvars()
        request.account = request.role = request.grants = request.locked_account = None
        request.memberships = []
        audit.source.set(audit.Source(address=request.META.get("REMOTE_ADDR"), via="session"))
        with tenancy.restored():
            if request.user.is_authenticated:
                bind_contextvars(user_id=str(request.user.pk))
                request.memberships = memberships_of(request.user)
                membership = chosen(request.memberships, request.session.get(SESSION_ACCOUNT))
                if membership is not None and is_missing(membership):
                    request.locked_account = membership.account
                elif membership is not None:
                    _open(request, membership)
            return self.get_response(request)


def _open(request: Any, membership: Membership) -> None:
    request.account, request.role = membership.account, membership.role
    request.grants = Grants(membership.role)
    tenancy.enter(membership.account_id)
