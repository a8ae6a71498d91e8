"""Shapes that the API takes from the agent's package, as components of its OpenAPI description."""

import uuid
from typing import Any

import msgspec
from drf_spectacular.generators import SchemaGenerator

from accounts.tenancy import tenant_scope
from lumos_agent.document import ConfigDocument
from lumos_agent.traffic import Traffic

NOBODY = uuid.UUID(int=0)


class Generator(SchemaGenerator):
    """Looks at the querysets of views in the scope of an account that does not exist."""

    def get_schema(self, *args: Any, **kwargs: Any) -> Any:
        """Return the description."""
        with tenant_scope(NOBODY):
            return super().get_schema(*args, **kwargs)  # type: ignore[no-untyped-call]


_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. docs/api.md lists every `type`; it stays the same, title and detail are for people.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:lumos:problem:validation"]},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": _TEXT, "message": _TEXT}, "required": ["message"]},
        },
    },
}
_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEMS = {
    "400": "Something in the request breaks a rule.",
    "401": "No key was sent, or it is not valid.",
    "402": "The account is frozen, or its balance is too small.",
    "403": "The key's scope or its creator's role does not allow it.",
    "404": "No such object in this account.",
    "406": "The API answers JSON.",
    "409": "The request contradicts what exists, or a limit forbids more.",
    "412": "The object has changed since it was read.",
    "415": "Send `Content-Type: application/json`.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Too many requests; wait as `Retry-After` says.",
    "502": "A URL in the request could not be fetched.",
    "503": "Too much is going on, or Lumos cannot reach its database; try again.",
}
_ALWAYS = {"400", "401", "402", "403", "404", "406", "429", "503"}
_CHANGE = _ALWAYS | {"409", "412", "415"}
_ANSWERS = {
    "get": _ALWAYS,
    "put": _CHANGE,
    "patch": _CHANGE,
    "delete": _CHANGE,
    "post": _CHANGE - {"412"} | {"422", "502"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key with the same request within 24 hours gets the same answer, and acts once.",
}  # fmt: skip
_IF_MATCH = {
    "name": "If-Match", "in": "header", "schema": _TEXT,
    "description": "The ETag of what you have seen; 412 if it has changed since.",
}  # fmt: skip
_HEADERS = {"post": _IDEMPOTENCY_KEY, "put": _IF_MATCH, "patch": _IF_MATCH, "delete": _IF_MATCH}


def add_doors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add what holds for every operation: its header, and the problems that it may answer with."""
    result["components"]["schemas"]["Problem"] = _PROBLEM
    result["components"]["responses"] = {
        f"Problem{status}": {"description": text, "content": _PROBLEM_CONTENT} for status, text in _PROBLEMS.items()
    }
    for operations in result["paths"].values():
        for method, operation in operations.items():
            for status in sorted(_ANSWERS[method]):
                operation["responses"][status] = {"$ref": f"#/components/responses/Problem{status}"}
            if method in _HEADERS:
                operation.setdefault("parameters", []).append(_HEADERS[method])
    return result


def add_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the traffic settings, the document of an account, and their parts.

    A hook of drf-spectacular that runs after its own, which name enumerations anew and need a type in each.
    """
    found = msgspec.json.schema_components((Traffic, ConfigDocument), ref_template="#/components/schemas/{name}")[1]
    result["components"]["schemas"].update(found)
    return result
