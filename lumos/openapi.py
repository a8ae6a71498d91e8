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
_PROBLEM_ANSWER = {
    "description": "A problem.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
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
    """Add what holds for every operation: its header, and problems as the answer to everything else."""
    result["components"]["schemas"]["Problem"] = _PROBLEM
    for operations in result["paths"].values():
        for method, operation in operations.items():
            operation["responses"].setdefault("default", _PROBLEM_ANSWER)
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
