"""Shapes that the API takes from the agent's schema, as components of its OpenAPI description."""

from typing import Any

import msgspec

from lumos_agent.traffic import Traffic


def components() -> dict[str, Any]:
    """Return {name: JSON Schema} of the traffic settings and their parts."""
    found = msgspec.json.schema_components((Traffic,), ref_template="#/components/schemas/{name}")[1]
    typed: dict[str, Any] = _typed(found)
    return typed


def _typed(part: Any) -> Any:
    """Give every enumeration its type, which JSON Schema allows to leave out and drf-spectacular needs."""
    if isinstance(part, list):
        return [_typed(item) for item in part]
    if not isinstance(part, dict):
        return part
    typed = {name: _typed(value) for name, value in part.items()}
    if isinstance(values := typed.get("enum"), list):
        typed.setdefault("type", "integer" if all(isinstance(value, int) for value in values) else "string")
    return typed
