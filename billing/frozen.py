"""The door of frozen accounts: pages, API and keys. Services need not know.

What people and programs change is refused. What the product does by itself goes on: shields serve, entries expire,
certificates are renewed.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey
from billing.entitlements import is_frozen, require_active

# What a frozen account may do: pay, become smaller, and take a key away from whoever should not have it.
OPEN_ROUTES = {
    "billing", "billing-plan", "top-up", "api-billing", "api-billing-plan", "api-top-up-list",
    "server-remove", "server-rotate", "api-server-detail", "api-server-rotate-token", "api-key-revoke",
    "api-key-detail", "account-switch", "leave", "invitation", "session-end", "account-delete", "member-remove",
    "invitation-withdraw", "channel-confirm", "api-member-detail", "api-invitation-detail", "api-account",
}  # fmt: skip
OPEN_PATHS = ("/auth/", "/operator/", "/api/")


class FrozenMiddleware:
    """Sends people who change something in a frozen account to the billing page, which says why."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Refuse, or return None to go on. The API has keys as well and is guarded by `NotFrozen`."""
        if request.method in SAFE_METHODS or request.account is None or request.path.startswith(OPEN_PATHS):
            return None
        if request.resolver_match.url_name in OPEN_ROUTES or not is_frozen(request.account.pk):
            return None
        messages.error(request, "That was not done, because the account is frozen.")
        return redirect("billing")


class NotFrozen(BasePermission):
    """Refuses changes of a frozen account, and everything that is asked for with an API key."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return True, or raise AccountFrozen (402)."""
        account = getattr(request._request, "account", None)
        if account is None or getattr(request._request.resolver_match, "url_name", None) in OPEN_ROUTES:
            return True
        if request.method not in SAFE_METHODS or isinstance(request.auth, ApiKey):
            require_active(account.pk)
        return True
