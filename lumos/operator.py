"""The operator's admin: staff with a second factor, who sign in where everybody does."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from accounts.second_factor import has_second_factor


class OperatorSite(admin.AdminSite):
    """Has no sign-in of its own, which would know no second factor and no limits."""

    site_header = site_title = "Lumos operator"
    index_title = "This installation"
    site_url = "/"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the person is staff and has a second factor."""
        user: Any = request.user
        return bool(user.is_active and user.is_staff and has_second_factor(user))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:  # type: ignore[override]
        """Send visitors to the product's sign-in, staff without a second factor to its set-up."""
        user: Any = request.user
        if not user.is_authenticated:
            return redirect_to_login(request.GET.get("next", "/operator/"))
        if not user.is_staff:
            raise PermissionDenied
        messages.info(request, "The operator's pages ask for a second factor.")
        return redirect("mfa_index")


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at; what changes them are the services behind the dashboard and the API."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the rows of all accounts."""
        manager: Any = getattr(self.model, "unscoped", self.model._default_manager)
        ordering = self.get_ordering(request)
        rows: models.QuerySet[Any] = manager.get_queryset()
        return rows.order_by(*ordering) if ordering else rows

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted here."""
        return False
