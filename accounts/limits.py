"""Limits on guessing and on sending mail: sign-in, sign-up, reset, second factors, invitations."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from redis.exceptions import RedisError

from lumos.limits import Limit, forget, network, take
from lumos.middleware import unavailable
from lumos.problems import throttled_problem

MINUTES, HOUR = 60, 3600

# Route -> (attempts per client address, attempts per person, seconds); only what sends something counts.
DOORS: dict[str, tuple[int, int, int]] = {
    "account_login": (30, 10, 5 * MINUTES),
    "account_signup": (10, 5, HOUR),
    "account_reset_password": (10, 3, HOUR),
    "account_reset_password_from_key": (20, 20, HOUR),
    "account_reauthenticate": (30, 10, 5 * MINUTES),
    "account_change_password": (30, 10, 5 * MINUTES),
    "account_email": (30, 10, HOUR),
    "mfa_authenticate": (30, 10, 5 * MINUTES),
    "mfa_reauthenticate": (30, 10, 5 * MINUTES),
    "mfa_activate_totp": (30, 10, 5 * MINUTES),
    "mfa_login_webauthn": (30, 30, 5 * MINUTES),
    "invite": (100, 50, HOUR),
    "api-invitation-list": (100, 50, HOUR),
}


def _person(request: Any) -> str:
    """Return who is meant: the person signed in, the one whose second factor is awaited, or the address given."""
    if request.user.is_authenticated:
        return str(request.user.pk)
    waiting = request.session.get("account_login") or {}
    return str(waiting.get("user_pk") or request.POST.get("login") or request.POST.get("email") or "").strip().lower()


def _limits(name: str, request: Any) -> list[Limit]:
    per_address, per_person, seconds = DOORS[name]
    found = [Limit(f"{name}:address", network(request.META["REMOTE_ADDR"]), per_address, seconds)]
    if person := _person(request):
        found.append(Limit(f"{name}:person", person, per_person, seconds))
    return found


class SignInLimits:
    """429 with Retry-After at the doors of `DOORS`; without Redis they stay closed (503)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Count an attempt; None lets it through."""
        name = request.resolver_match.url_name
        if name not in DOORS or request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        try:
            wait = take(_limits(name, request))
        except RedisError:
            return unavailable(request)
        return too_many(request, wait) if wait else None


def too_many(request: HttpRequest, wait: int) -> HttpResponse:
    """Return the 429 for people or for API clients."""
    if request.path.startswith("/api/"):
        return throttled_problem(wait)
    response = render(request, "429.html", {"minutes": -(-wait // 60)}, status=429)
    response["Retry-After"] = str(wait)
    return response


def person_got_in(sender: Any, request: Any, user: Any, **_: Any) -> None:
    """Forget the failures of a person who has signed in."""
    whos = {str(user.pk), user.email.lower()}
    names = ("account_login", "mfa_authenticate")
    try:
        forget([Limit(f"{name}:person", who, 0, 0) for name in names for who in whos])
    except RedisError:
        return
