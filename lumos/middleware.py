"""Who the client is behind proxies, and an honest 503 when the database or Redis is lost."""

import ipaddress
import logging
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from redis.exceptions import RedisError

from lumos.problems import problem_json

log = logging.getLogger(__name__)

RETRY_SECONDS = 5


class ClientAddressMiddleware:
    """Sets REMOTE_ADDR to the address that the outermost trusted proxy saw (TRUSTED_PROXIES of them append theirs)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        seen = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        if 0 < settings.TRUSTED_PROXIES <= len(seen) and _is_address(seen[-settings.TRUSTED_PROXIES]):
            request.META["REMOTE_ADDR"] = seen[-settings.TRUSTED_PROXIES]
        return self.get_response(request)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class UnavailableMiddleware:
    """503 with Retry-After instead of 500 while PostgreSQL is away, or Redis where a request cannot do without it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Translate; None leaves any other error to Django."""
        if not isinstance(error, OperationalError | InterfaceError | RedisError):
            return None
        log.error("dependency_unavailable", extra={"error": str(error), "path": request.path})
        return unavailable(request)


def unavailable(request: HttpRequest) -> HttpResponse:
    """Return the 503 for people or for API clients."""
    detail = "The service cannot reach its database right now. Sites behind the shields are not affected."
    if request.path.startswith("/api/"):
        response: HttpResponse = problem_json(503, "unavailable", "Temporarily unavailable", detail)
    else:
        response = HttpResponse(
            f"<!doctype html><title>Temporarily unavailable</title><h1>Temporarily unavailable</h1><p>{detail} "
            "Please try again in a few seconds.</p>",
            status=503,
        )
    response["Retry-After"] = str(RETRY_SECONDS)
    return response
