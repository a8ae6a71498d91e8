"""ETag on what the API shows, and If-Match on what changes it: a change is made to what its author has seen, or not.

A tag covers what can be changed, not counters and states that move by themselves. Comparison and change see one
snapshot of the database (REPEATABLE READ; SQLite writes one at a time anyway): if another change comes in between, the
database refuses this one, and it is compared anew.
"""

import copy
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import OperationalError, connection, transaction
from django.http import HttpResponse, HttpResponseBase
from django.utils.http import parse_etags
from psycopg.errors import DeadlockDetected, SerializationFailure
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer

from lumos.middleware import RETRY_SECONDS
from lumos.problems import problem_json

TRIES = 5
_Shape = dict[str, Any] | None


@cache
def _shape(kind: type[serializers.BaseSerializer[Any]]) -> _Shape:
    """Return {name: shape} of the fields that can be written, {} or None standing for all of a value."""
    fields = getattr(kind(), "fields", {})
    return {name: _field_shape(field) for name, field in fields.items() if not field.read_only}


def _field_shape(field: Any) -> _Shape:
    inner = getattr(field, "child", field)
    return _shape(type(inner)) if isinstance(inner, serializers.Serializer) else None


def _changeable(data: Any, shape: _Shape) -> Any:
    if not shape:
        return data
    if isinstance(data, list):
        return [_changeable(item, shape) for item in data]
    if not isinstance(data, dict):
        return data
    return {name: _changeable(data[name], inner) for name, inner in shape.items() if name in data}


def tag_of(response: Any) -> str | None:
    """Return the entity tag (RFC 9110, section 8.8.3) of an answer that shows one object, else None.

    A view that writes bytes of its own says their tag itself.
    """
    if response.status_code == 200 and "ETag" in response.headers:
        return str(response.headers["ETag"])
    view = (getattr(response, "renderer_context", None) or {}).get("view")
    data = getattr(response, "data", None)
    if view is None or response.status_code != 200 or not isinstance(data, dict) or not _shows_one(view):
        return None
    kind = view.get_serializer_class() if hasattr(view, "get_serializer_class") else None
    text = JSONRenderer().render(_changeable(data, _shape(kind) if kind else None))
    return f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def _shows_one(view: Any) -> bool:
    return getattr(view, "action", "retrieve") in ("retrieve", "update", "partial_update")


class ConditionalMiddleware:
    """For everything below /api/v1/; the innermost, so that it can show an object before it is changed."""

    def __init__(self, get_response: Callable[[Any], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponseBase:
        if not request.path.startswith("/api/v1/") or request.method not in ("GET", "PUT", "PATCH", "DELETE"):
            return self.get_response(request)
        if request.method != "GET" and "If-Match" in request.headers:
            return self._if_match(request)
        return _tagged(self.get_response(request))

    def process_exception(self, request: Any, error: Exception) -> HttpResponse | None:
        """Note that another transaction was faster; the answer is never sent."""
        if not isinstance(error, OperationalError):
            return None
        if not isinstance(error.__cause__, SerializationFailure | DeadlockDetected):
            return None
        request.was_overtaken = True
        return HttpResponse(status=503)

    def _if_match(self, request: Any) -> HttpResponseBase:
        for _ in range(TRIES):
            request.was_overtaken = False
            response = self._attempt(request)
            if not request.was_overtaken:
                return response
        busy = problem_json(503, "busy", "Busy", "Others change the same things right now. Try again.")
        busy["Retry-After"] = str(RETRY_SECONDS)
        return busy

    def _attempt(self, request: Any) -> HttpResponseBase:
        outermost = not connection.in_atomic_block
        with transaction.atomic():
            if outermost and connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            response = self._compared(request)
            if response.status_code >= 400:
                transaction.set_rollback(True)
        return response

    def _compared(self, request: Any) -> HttpResponseBase:
        look = copy.copy(request)
        look.method = "GET"
        shown = self.get_response(look)
        if look.was_overtaken:
            request.was_overtaken = True
        if shown.status_code in (401, 403, 404, 429, 503):
            return shown
        tag, wanted = tag_of(shown), parse_etags(request.headers["If-Match"])
        if tag is None or not (wanted == ["*"] or tag in wanted):
            return _precondition_failed(tag)
        return _tagged(self.get_response(request))


def _tagged(response: HttpResponseBase) -> HttpResponseBase:
    if (tag := tag_of(response)) is not None:
        response["ETag"] = tag
    return response


def _precondition_failed(tag: str | None) -> HttpResponse:
    detail = "The object has changed since you read it. Read it again, and repeat the change if it still makes sense."
    response = problem_json(412, "precondition_failed", "The object has changed", detail)
    if tag is not None:
        response["ETag"] = tag
    return response
