"""What every page may show about the tenant."""

from typing import Any

from django.http import HttpRequest

from accounts.roles import Action, Grants


def tenant(request: HttpRequest) -> dict[str, Any]:
    """Return the account in scope, the role, and what it may do."""
    grants: Grants | None = getattr(request, "grants", None)
    return {
        "account": getattr(request, "account", None),
        "role": getattr(request, "role", None),
        "accounts": [row.account for row in getattr(request, "memberships", [])],
        "can": grants.names() if grants else set(),
        "can_write": bool(grants and grants.may(Action.WRITE)),
        "can_admin": bool(grants and grants.may(Action.ADMIN)),
    }
