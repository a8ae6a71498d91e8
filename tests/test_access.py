"""Every route x method x principal x own or foreign object: the expected status. A route without a rule fails."""

from collections.abc import Callable, Iterator

import pytest
from django.test import Client

from accounts.api_keys import create_api_key
from accounts.models import Role, Scope
from tests.access_rules import RULES, WHO
from tests.factories import Tenant, member
from tests.test_tenancy_doors import API, PAGES, address, ids, undone

pytestmark = pytest.mark.django_db
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
KEYS = ("key-read", "key-write", "key-admin")
DONE = {200, 201, 204, 302, 400, 409}


@pytest.fixture
def principals(alice: Tenant, signed_in: Callable[..., Client]) -> dict[str, Client]:
    """Return a client for each role in alice's account, each kind of key, and a visitor."""
    found = {"owner": signed_in(alice.owner), "anonymous": Client()}
    for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER):
        found[role.value] = signed_in(member(alice.account, f"alices-{role}", role))
    with alice.scope:
        for scope in Scope:
            _, key = create_api_key(name=scope, scope=scope, actor=alice.owner)
            found[f"key-{scope}"] = Client(headers={"authorization": f"Bearer {key}"})
    return found


def test_every_route_has_a_rule() -> None:
    assert set(RULES) == set(PAGES) | set(API)


def expected(name: str, method: str, who: str, *, foreign: bool) -> set[int]:
    """Return the statuses that may come back."""
    is_page, rule = name in PAGES, RULES[name]
    if who == "anonymous" or (is_page and who in KEYS):
        return {302, 405} if is_page else {401}
    if method not in rule:
        return {404, 405, 403}
    if who not in WHO[rule[method]]:
        return {403}
    return {404} if foreign else {200} if method == "GET" else DONE


@pytest.mark.timeout(400)
@pytest.mark.parametrize("door", [PAGES, API], ids=["pages", "api"])
def test_statuses(door: dict[str, str | None], alice: Tenant, mallory: Tenant, principals: dict[str, Client]) -> None:
    objects = {False: ids(alice), True: ids(mallory)}
    wrong = []
    for name, what in door.items():
        for is_foreign in {False, what is not None}:
            url = address(name, what, objects[is_foreign])
            for who, method in tried(name):
                with undone():
                    status = call(principals[who], method, url, is_page=door is PAGES)
                if status not in expected(name, method, who, foreign=is_foreign):
                    wrong.append((name, method, who, "foreign" if is_foreign else "own", status))
    assert wrong == []


def tried(name: str) -> Iterator[tuple[str, str]]:
    """Yield who tries which method; methods that a route lacks are left to those who may least."""
    for who in ("owner", "admin", "member", "viewer", "anonymous", *KEYS):
        for method in METHODS:
            if method in RULES[name] or (name in API and who in {"anonymous", "viewer", "key-read"}):
                yield who, method


def call(client: Client, method: str, url: str, *, is_page: bool) -> int:
    """Send an empty form, or an empty JSON object."""
    if is_page:
        return client.generic(method, url, b"", "application/x-www-form-urlencoded").status_code
    body = b"" if method == "GET" else b"{}"
    return client.generic(method, url, body, content_type="application/json").status_code
