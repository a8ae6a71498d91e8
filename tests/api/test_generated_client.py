"""A client that a generator makes of our description does what its types say."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser.errors import ErrorLevel
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.factories import Tenant

pytestmark = [pytest.mark.integration, pytest.mark.django_db, pytest.mark.usefixtures("requests_share_the_transaction")]
PACKAGE = "lumos_api_client"


@pytest.fixture
def description(client: Client) -> Any:
    """Return the OpenAPI document that everybody may fetch."""
    answer = client.get("/api/v1/schema", headers={"accept": "application/vnd.oai.openapi+json"})
    return json.loads(answer.content)


@pytest.fixture
def part(description: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Generate the client, and return what imports a module of it."""
    source = tmp_path / "openapi.json"
    source.write_text(json.dumps(description))
    config = Config.from_sources(
        ConfigFile(post_hooks=[]), MetaType.NONE, document_source=source, file_encoding="utf-8", overwrite=True,
        output_path=tmp_path / PACKAGE,
    )  # fmt: skip
    found = generate(config=config)
    assert [problem for problem in found if problem.level is ErrorLevel.ERROR] == []
    assert [problem.detail for problem in found] == []
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_the_description_is_valid(description: Any) -> None:
    assert description["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(description).validate()


def test_round_trip(alice: Tenant, part: Callable[[str], Any]) -> None:
    models, domains = part("models"), "api.domains.domains_"
    caller = part("client").AuthenticatedClient("http://testserver", alice.api_key)
    headers = {"Authorization": f"Bearer {alice.api_key}"}
    wire = httpx.WSGITransport(WSGIHandler(), remote_addr="127.0.0.1")
    with httpx.Client(transport=wire, base_url="http://testserver", headers=headers) as http:
        caller.set_httpx_client(http)
        wanted = models.DomainRequest.from_dict(
            {
                "hostname": "made.example",
                "servers": [str(alice.server.pk)],
                "origins": [{"address": "192.0.2.7", "port": 8443, "tls": "verify"}],
            }
        )
        made = part(f"{domains}create").sync(client=caller, body=wanted, idempotency_key="once")
        again = part(f"{domains}create").sync(client=caller, body=wanted, idempotency_key="once")
        assert (made.hostname, again.id) == ("made.example", made.id)
        seen = part(f"{domains}retrieve").sync_detailed(made.id, client=caller)
        assert (seen.parsed.origins[0].port, seen.parsed.origins[0].tls) == (8443, "verify")
        assert made.id in {row.id for row in part(f"{domains}list").sync(client=caller, search="made").results}
        change = models.PatchedDomainRequest.from_dict({"rollout": "staged"})
        tag = seen.headers["ETag"]
        changed = part(f"{domains}partial_update").sync(made.id, client=caller, body=change, if_match=tag)
        assert changed.rollout == "staged"
        late = part(f"{domains}partial_update").sync(made.id, client=caller, body=change, if_match=tag)
        assert (late.status, late.type_) == (412, "urn:lumos:problem:precondition_failed")
        assert part(f"{domains}destroy").sync_detailed(made.id, client=caller).status_code == 204
        assert part(f"{domains}retrieve").sync(made.id, client=caller).status == 404
