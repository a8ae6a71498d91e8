"""What every page may show about the tenant."""

from typing import Any

from django.http import HttpRequest

from accounts.permissions import ADMIN, WRITE


def tenant(request: HttpRequest) -> dict[str, Any]:
    """Return the account in scope, the role, and what it may do."""
    granted = getattr(request, "allowed", None) or frozenset()
    return {
        "account": getattr(request, "account", None),
        "role": getattr(request, "role", None),
        "can_write": WRITE in granted,
        "can_admin": ADMIN in granted,
    }
