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


def add_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the traffic settings, the document of an account, and their parts.

    A hook of drf-spectacular that runs after its own, which name enumerations anew and need a type in each.
    """
    found = msgspec.json.schema_components((Traffic, ConfigDocument), ref_template="#/components/schemas/{name}")[1]
    result["components"]["schemas"].update(found)
    return result
