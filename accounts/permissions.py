"""Role x action: the only table that says who may do what."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.models import Role, Scope

READ, WRITE, ADMIN = Scope.READ, Scope.WRITE, Scope.ADMIN

ALLOWED: dict[str, frozenset[Scope]] = {
    Role.OWNER: frozenset({READ, WRITE, ADMIN}),
    Role.ADMIN: frozenset({READ, WRITE, ADMIN}),
    Role.MEMBER: frozenset({READ, WRITE}),
    Role.VIEWER: frozenset({READ}),
}
KEY_ALLOWS: dict[str, frozenset[Scope]] = {
    Scope.READ: frozenset({READ}),
    Scope.WRITE: frozenset({READ, WRITE}),
    Scope.ADMIN: frozenset({READ, WRITE, ADMIN}),
}


def allowed(role: str, key_scope: str | None = None) -> frozenset[Scope]:
    """Return what a role may do, narrowed by the scope of an API key if one is used."""
    by_role = ALLOWED[role]
    return by_role if key_scope is None else by_role & KEY_ALLOWS[key_scope]


class RolePermission(BasePermission):
    """A view's `scopes` maps DRF actions to what they need; reads need READ, everything else WRITE."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Compare with what the authentication found (`request.allowed`)."""
        granted: frozenset[Scope] | None = getattr(request._request, "allowed", None)
        if granted is None:
            return False
        default = READ if request.method in SAFE_METHODS else WRITE
        needed = getattr(view, "scopes", {}).get(getattr(view, "action", None), default)
        return needed in granted
