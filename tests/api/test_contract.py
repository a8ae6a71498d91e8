"""The API keeps what its description promises, whatever is sent to it: Schemathesis with a real key.

Every operation gets LUMOS_FUZZ_EXAMPLES well-formed and as many malformed requests, about objects that exist and others.
Each is taken back, so that each meets the same account; LUMOS_FUZZ_SEED chooses other requests than those of every run.
"""

import os
import uuid
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.factories import Tenant
from tests.test_tenancy_doors import ids

pytestmark = [pytest.mark.integration, pytest.mark.django_db]
EXAMPLES = int(os.environ.get("LUMOS_FUZZ_EXAMPLES", "3"))
SEED = os.environ.get("LUMOS_FUZZ_SEED")
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# First part of a path below /api/v1/, or name of a member -> which of an account's objects its id names.
NOUNS = {
    "servers": "server", "domains": "domain", "policies": "policy", "exclusions": "exclusion", "custom-rules": "rule",
    "ip-lists": "entry", "list-subscriptions": "subscription", "events": "event", "attacks": "attack", "api-keys": "key",
    "top-ups": "payment", "members": "member", "invitations": "invitation", "audit-entries": "audit-entry",
    "notifications": "notification", "notification-channels": "channel", "notification-deliveries": "delivery",
    "maintenance-windows": "window", "channel": "channel", "notification": "notification",
    "server": "server", "domain": "domain", "from": "domain",
    "zones": "zone", "zone-records": "record", "zone": "zone",
}  # fmt: skip


class Aimed:
    """Replaces most of the ids in a request by those of objects that exist."""

    def __init__(self, tenant: Tenant) -> None:
        self._ids = ids(tenant)

    def __call__(self, case: Any) -> Any:
        """Return the case, changed."""
        noun = case.path.split("/")[3]
        for name, value in case.path_parameters.items():
            if name == "revision":
                case.path_parameters[name] = self._ids["snapshot"][1] if hash(value) % 2 else value
            else:
                case.path_parameters[name] = str(self._hit(noun, value))
        case.query = self._replaced(case.query)
        case.body = self._replaced(case.body)
        return case

    def _hit(self, noun: str, value: Any) -> Any:
        try:
            is_hit = uuid.UUID(value).int % 8
        except (ValueError, AttributeError, TypeError):
            return value
        return str(self._ids[NOUNS[noun]]) if is_hit and noun in NOUNS else value

    def _replaced(self, value: Any, noun: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._replaced(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self._replaced(item, noun) for item in value]
        return self._hit(noun, value)


@pytest.fixture
def described(alice: Tenant, settings: Any, requests_share_the_transaction: None) -> Any:
    """Return the description that the API serves."""
    settings.API_REQUESTS_PER_MINUTE = settings.API_ACCOUNT_REQUESTS_PER_MINUTE = 1_000_000
    return schemathesis.openapi.from_wsgi("/api/v1/schema", WSGIHandler())


def failures(operation: Any, mode: GenerationMode, aimed: Aimed, key: str) -> dict[str, str]:
    """Return what an operation does that its description does not say: {what: an example}."""
    found: dict[str, str] = {}
    request = {"headers": {"Authorization": f"Bearer {key}"}, "environ_base": {"REMOTE_ADDR": "127.0.0.1"}}

    @settings(
        max_examples=EXAMPLES,
        derandomize=SEED is None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        with transaction.atomic():
            try:
                aimed(case).call_and_validate(checks=CHECKS, **request)
                connection.check_constraints()
            except FailureGroup as group:
                for failure in group.exceptions:
                    found[f"{operation.label}: {failure}"] = str(group)
            transaction.set_rollback(True)

    (ask if SEED is None else seed(int(SEED))(ask))()
    return found


@pytest.mark.timeout(900)
def test_answers_are_as_described(alice: Tenant, described: Any) -> None:
    aimed = Aimed(alice)
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 80
    wrong: dict[str, str] = {}
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            wrong |= failures(operation, mode, aimed, alice.api_key)
    assert not wrong, "\n\n".join(wrong.values())
