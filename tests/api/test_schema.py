"""The OpenAPI description of the API."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.drainage import reset_generator_stats

pytestmark = pytest.mark.django_db


def references(part: Any) -> set[str]:
    """Return everything that a description refers to."""
    if isinstance(part, list):
        return {found for item in part for found in references(item)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own | {found for item in part.values() for found in references(item)}


@pytest.mark.parametrize("time", ["the first", "the second"])
def test_every_reference_leads_somewhere(client: Client, time: str) -> None:
    answer = client.get("/api/v1/schema", headers={"accept": "application/vnd.oai.openapi+json"})
    assert answer.status_code == 200
    described = json.loads(answer.content)
    schemas = described["components"]["schemas"]
    for reference in references(described):
        _, _, kind, name = reference.split("/")
        assert name in described["components"][kind]
    assert schemas["Traffic"]["properties"]["health"]


def test_description_is_valid_and_nothing_had_to_be_guessed(tmp_path: Path) -> None:
    reset_generator_stats()
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yaml"))
