"""Every expected error as an RFC 9457 problem."""

import math
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from lumos.errors import AppError, InvalidInput

CONTENT_TYPE = "application/problem+json"


def problem(
    status: int, code: str, title: str, detail: str, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return the members of an RFC 9457 problem; `errors` has one {field, message} per invalid field."""
    body: dict[str, Any] = {"type": f"urn:lumos:problem:{code}", "title": title, "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return body


def problem_json(status: int, code: str, title: str, detail: str) -> JsonResponse:
    """Return problem details from places that DRF does not wrap (404 of the router, 500, 503)."""
    return JsonResponse(problem(status, code, title, detail), status=status, content_type=CONTENT_TYPE)


def throttled_problem(wait: int) -> JsonResponse:
    """Return the 429 that asks to wait so many seconds."""
    detail = f"Too many requests. Try again in {wait} second{'' if wait == 1 else 's'}."
    response = problem_json(429, "throttled", "Too many requests", detail)
    response["Retry-After"] = str(wait)
    return response


def _field_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    if isinstance(detail, dict):
        for name, value in detail.items():
            yield from _field_errors(value, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            nested = isinstance(value, dict | list)
            yield from _field_errors(value, f"{path}[{index}]" if nested else path)
    else:
        yield {"field": path, "message": str(detail)}


def _validation_problem(detail: Any) -> dict[str, Any]:
    errors = list(_field_errors(detail))
    text = "; ".join(f"{e['field']}: {e['message']}" if e["field"] else e["message"] for e in errors[:5])
    return problem(400, InvalidInput.code, InvalidInput.title, text, errors)


def _translate(error: Exception) -> Exception:
    if isinstance(error, Http404):
        return exceptions.NotFound("No such object in this account.")
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, DjangoValidationError):
        return exceptions.ValidationError(error.message_dict if hasattr(error, "error_dict") else error.messages)
    if isinstance(error, RequestDataTooBig):
        return exceptions.ParseError("The request body is larger than 8 MiB; send the change in smaller parts.")
    return error


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every expected error as `application/problem+json`; None for a bug (500)."""
    error = _translate(error)
    headers: dict[str, str] = {}
    if isinstance(error, AppError):
        errors = [{"field": error.field, "message": error.detail}] if error.field else None
        body = problem(error.status, error.code, error.title, error.detail, errors)
    elif isinstance(error, exceptions.ValidationError):
        body = _validation_problem(error.detail)
    elif isinstance(error, exceptions.APIException):
        code = str(error.default_code)
        body = problem(error.status_code, code, str(error.default_detail).rstrip("."), str(error.detail))
        if challenge := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = challenge
        if wait := getattr(error, "wait", None):
            headers["Retry-After"] = str(math.ceil(wait))
    else:
        return None
    set_rollback()
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)
