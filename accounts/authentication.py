"""How API requests prove who they are: a key, or the dashboard's session."""

import uuid
from typing import Any, NamedTuple

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from accounts import audit, tenancy
from accounts.api_keys import valid_key
from accounts.models import ApiKey, Membership, User
from accounts.roles import Grants
from accounts.throttles import count_wrong_key

_REFUSED = "This API key does not exist, was revoked or has expired."


class Caller(NamedTuple):
    """Who asks, and for which account."""

    name: str
    account_id: uuid.UUID


def caller_of(request: Any) -> Caller | None:
    """Return who sent a request that no view has authenticated yet, or None."""
    if (key := _bearer(request.headers.get("Authorization", ""))) is not None:
        row = valid_key(key)
        return Caller(f"key {row.pk}", row.account_id) if row else None
    return Caller(f"user {request.user.pk}", request.account.pk) if request.account else None


def _bearer(header: str) -> str | None:
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer lmsk_…`; opens the scope of the key's account, which TenantMiddleware closes."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Return None without a bearer header; raise for a key that is not valid."""
        key = _bearer(get_authorization_header(request).decode("latin-1"))
        if key is None:
            return None
        row = valid_key(key)
        if row is None:
            count_wrong_key(request._request.META["REMOTE_ADDR"])
            raise AuthenticationFailed(_REFUSED)
        membership = Membership.objects.filter(account=row.account, user=row.created_by).first()
        if membership is None:
            raise AuthenticationFailed(_REFUSED)
        http: Any = request._request
        http.account, http.role = row.account, membership.role
        http.grants = Grants(membership.role, row.scope)
        tenancy.enter(row.account.pk)
        audit.source.set(audit.Source(address=http.META.get("REMOTE_ADDR"), via=f"key {row.prefix}"))
        return row.created_by, row

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Bearer realm="lumos"'


class ActiveSessionAuthentication(SessionAuthentication):
    """The dashboard's session with CSRF protection; the scope is already open."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Return None for visitors and for people without an account."""
        http: Any = request._request
        if http.locked_account is not None:
            raise PermissionDenied("This account asks for a second factor. Set one up at /auth/2fa/.")
        return super().authenticate(request) if http.account else None

    def authenticate_header(self, request: HttpRequest) -> str:
        """Return the same challenge as keys get, so that a missing login is 401 and not 403."""
        return 'Bearer realm="lumos"'


def actor(request: Request) -> User:
    """Return the person who acts; permissions have refused visitors before a view asks."""
    user = request.user
    if not isinstance(user, User):
        raise NotAuthenticated
    return user


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the header in the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key: `lmsk_` and 64 hex digits."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the session cookie in the OpenAPI document."""

    target_class = ActiveSessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "lumos_session"}
