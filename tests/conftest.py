"""Fixtures that several parts of the suite share."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

from accounts import audit
from accounts.models import Role, User
from domains import delegation
from tests import factories
from tests.database import template_database

# A loaded machine is slow, not wrong.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count what needs the database among the tests with real daemons: PostgreSQL is one."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if item.get_closest_marker("django_db") or "db" in names or "transactional_db" in names:
            item.add_marker(pytest.mark.integration)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let this worker's database be a copy of one that is migrated, which is outside of the time of any test."""
    needs_database = any({"db", "transactional_db"} & {*getattr(item, "fixturenames", ())} for item in session.items)
    if needs_database and connection.vendor == "postgresql" and not session.config.option.collectonly:
        connection.settings_dict["TEST"]["TEMPLATE"] = template_database(os.environ["DATABASE_URL"])


@pytest.fixture(autouse=True)
def own_limits(settings: Any) -> None:
    """Let each test count attempts of its own."""
    settings.LIMITS_PREFIX = f"limit:{uuid.uuid4()}"


@pytest.fixture(autouse=True)
def own_source() -> Iterator[None]:
    """Let no request of one test be the source of another's changes."""
    token = audit.source.set(audit.source.get())
    yield
    audit.source.reset(token)


@pytest.fixture(autouse=True)
def no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody ask the world's DNS; a test that wants answers gives its own network."""
    monkeypatch.setattr(delegation, "NETWORK", delegation.Network(resolvers=["127.0.0.1"], port=9, seconds=0.1))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Make the cast's rows once, as soon as there is a database."""
    with django_db_blocker.unblock():
        factories.make_moulds()


@pytest.fixture
def alice(db: None) -> factories.Tenant:
    """The owner of alice.example's account."""
    return factories.tenant("alice", "alice.example")


@pytest.fixture
def mallory(db: None) -> factories.Tenant:
    """The owner of another account."""
    return factories.tenant("mallory", "mallory.example")


@pytest.fixture
def bob(alice: factories.Tenant) -> User:
    """A viewer in alice's account."""
    return factories.member(alice.account, "bob", Role.VIEWER)


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """Return a browser in which a user is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
        return client

    return sign_in


@pytest.fixture
def requests_share_the_transaction(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let WSGIHandler keep the connection of the test between requests, as Django's own client does."""
    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)


class Api:
    """An API client with a key."""

    def __init__(self, key: str) -> None:
        self._client = Client(headers={"authorization": f"Bearer {key}"})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call /api/v1`path` with a JSON body."""
        return self._client.generic(method, f"/api/v1{path}", _json(body), content_type="application/json")

    def get(self, path: str) -> Any:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """POST."""
        return self.call("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH."""
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        """DELETE."""
        return self.call("DELETE", path)


def _json(body: Any) -> str:
    return "" if body is None else json.dumps(body)


@pytest.fixture
def api(alice: factories.Tenant) -> Api:
    """Alice's API client."""
    return Api(alice.api_key)
