"""Shapes that the API takes from the agent's package, as components of its OpenAPI description."""

from typing import Any

import msgspec

from lumos_agent.document import ConfigDocument
from lumos_agent.traffic import Traffic


def add_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the traffic settings, the document of an account, and their parts.

    A hook of drf-spectacular that runs after its own, which name enumerations anew and need a type in each.
    """
    found = msgspec.json.schema_components((Traffic, ConfigDocument), ref_template="#/components/schemas/{name}")[1]
    result["components"]["schemas"].update(found)
    return result
