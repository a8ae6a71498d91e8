"""The door of the API: what a view does, looked up in the table of roles."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.roles import Action, Grants, Thing

READ, WRITE, ADMIN = Action.READ, Action.WRITE, Action.ADMIN


class RolePermission(BasePermission):
    """A view's `thing` says what it shows or changes; `scopes` maps DRF actions (or methods) to what they need.

    Without an entry reads need READ, everything else WRITE.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Compare with what the authentication found (`request.grants`)."""
        grants: Grants | None = getattr(request._request, "grants", None)
        if grants is None:
            return False
        default = READ if request.method in SAFE_METHODS else WRITE
        step = getattr(view, "action", None) or (request.method or "").lower()
        needed = getattr(view, "scopes", {}).get(step, default)
        return grants.may(needed, getattr(view, "thing", Thing.CONFIGURATION))


def grants_of(request: Request) -> Grants:
    """Return what a request that passed `RolePermission` may do."""
    http: Any = request._request
    grants: Grants = http.grants
    return grants
