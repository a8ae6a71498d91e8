"""Limits on real Redis: exact however many attempts arrive at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.db import connections
from django.test import Client

from accounts.limits import DOORS
from lumos.limits import Limit, forget, network, take
from tests.conftest import Api
from tests.factories import PASSWORD, Tenant

ATTEMPTS, THREADS = 200, 20
HOUR = 3600


@pytest.fixture
def long_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count for an hour, so that no test depends on its own speed."""
    monkeypatch.setattr("accounts.throttles.WINDOW_SECONDS", HOUR)


def statuses(attempt: Any, count: int = ATTEMPTS) -> Counter[int]:
    """Run `attempt` so many times in threads; return how often each status came."""

    def run(number: int) -> int:
        try:
            return int(attempt(number))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(pool.map(run, range(count)))


def test_limits_count_together_or_not_at_all() -> None:
    narrow, wide = Limit("n", "a", 2, 60), Limit("w", "b", 9, 60)
    assert [take([narrow, wide]) for _ in range(2)] == [0, 0]
    assert 0 < take([narrow, wide]) <= 60
    assert [take([wide]) for _ in range(8)] == [0] * 7 + [take([wide])]
    forget([narrow])
    assert take([narrow]) == 0


def test_200_at_once_let_exactly_the_allowed_number_through() -> None:
    limit = Limit("parallel", "x", 37, HOUR)
    assert statuses(lambda _: 429 if take([limit]) else 200) == {200: 37, 429: ATTEMPTS - 37}


def test_ipv6_customers_count_by_their_network() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("192.0.2.1") != network("192.0.2.2")


@pytest.fixture
def quick_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer sign-ins without the cost of a password hash: the door in front of them is what is tested."""
    monkeypatch.setattr("allauth.account.auth_backends.AuthenticationBackend.authenticate", lambda *a, **k: None)


@pytest.mark.django_db(transaction=True)
def test_200_sign_ins_at_once(quick_guards: None) -> None:
    per_address, per_person, _ = DOORS["account_login"]
    form = {"login": "alice@example.com", "password": "wrong"}
    found = statuses(lambda _: Client().post("/auth/login/", form).status_code)
    assert found == {200: per_person, 429: ATTEMPTS - per_person}

    def somebody(number: int) -> int:
        return Client().post("/auth/login/", {**form, "login": f"p{number}@example.com"}).status_code

    assert statuses(somebody) == {200: per_address - per_person, 429: ATTEMPTS - per_address + per_person}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/auth/signup/", {"email": "x@example.com"}),
        ("/auth/password/reset/", {"email": "x@example.com"}),
        ("/auth/login/", {"login": "x@example.com", "password": "wrong"}),
    ],
)
def test_people_are_told_how_long_to_wait(path: str, form: dict[str, str]) -> None:
    client = Client()
    answers = [client.post(path, form) for _ in range(11)]
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "Try again in" in refused.content.decode()
    assert client.get(path).status_code == 200


@pytest.mark.django_db
def test_a_success_forgets_the_failures(alice: Tenant) -> None:
    def sign_in(password: str) -> int:
        return Client().post("/auth/login/", {"login": "alice@example.com", "password": password}).status_code

    for _ in range(2):
        assert [sign_in("wrong") for _ in range(9)] == [200] * 9
        assert sign_in(PASSWORD) == 302


@pytest.mark.django_db
def test_codes_are_not_guessed_in_many_sessions(alice: Tenant) -> None:
    secret = generate_totp_secret()
    TOTP.activate(alice.owner, secret)
    found: Counter[int] = Counter()
    for _ in range(3):
        client = Client()
        client.post("/auth/login/", {"login": "alice@example.com", "password": PASSWORD})
        found.update(client.post("/auth/2fa/authenticate/", {"code": "000000"}).status_code for _ in range(5))
    assert found == {200: 10, 429: 5}


@pytest.mark.django_db
def test_api_limits_per_key_and_per_account(alice: Tenant, mallory: Tenant, settings: Any, long_window: None) -> None:
    settings.API_REQUESTS_PER_MINUTE, settings.API_ACCOUNT_REQUESTS_PER_MINUTE = 3, 5
    first = Api(alice.api_key)
    second = Api(first.post("/api-keys", {"name": "second"}).json()["key"])
    assert [first.get("/domains").status_code for _ in range(3)] == [200, 200, 429]
    assert [second.get("/domains").status_code for _ in range(3)] == [200, 200, 429]
    refused = second.get("/domains")
    assert refused.json()["type"] == "urn:lumos:problem:throttled"
    assert 0 < int(refused["Retry-After"]) <= HOUR
    assert Api(mallory.api_key).get("/domains").status_code == 200


@pytest.mark.django_db
def test_wrong_keys_are_limited_per_address(long_window: None) -> None:
    found = Counter(Api("lmsk_" + "0" * 64).get("/domains").status_code for _ in range(70))
    assert found == {401: 60, 429: 10}


@pytest.mark.django_db
def test_without_redis_sign_in_is_closed_and_the_api_open(alice: Tenant, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    closed = Client().post("/auth/login/", {"login": "alice@example.com", "password": PASSWORD})
    assert closed.status_code == 503
    assert Api(alice.api_key).get("/domains").status_code == 200


@pytest.mark.django_db
def test_the_clients_address_behind_trusted_proxies(alice: Tenant, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    client = Client(headers={"authorization": f"Bearer {alice.api_key}", "x-forwarded-for": "10.9.9.9, 203.0.113.5"})
    path = f"/api/v1/servers/{alice.server.pk}"
    client.patch(path, {"region": "x"}, content_type="application/json")
    assert client.get("/api/v1/audit-entries").json()["results"][0]["address"] == "203.0.113.5"
