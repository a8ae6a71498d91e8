"""What holds for the API as a whole: idempotent creates, conditional changes, cursors, problems."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone
from rest_framework import exceptions

from accounts import tasks
from accounts.models import IdempotentAnswer
from domains.models import Domain
from lumos.api import CursorPagination
from lumos.errors import AppError
from servers.models import Server
from tests.conftest import Api
from tests.factories import Tenant, tenant

NEW = {"name": "edge-2"}
DRF_PROBLEMS = (
    exceptions.ParseError, exceptions.AuthenticationFailed, exceptions.NotAuthenticated, exceptions.PermissionDenied,
    exceptions.NotFound, exceptions.MethodNotAllowed, exceptions.NotAcceptable, exceptions.UnsupportedMediaType,
    exceptions.Throttled,
)  # fmt: skip


def post(key: str, path: str, body: Any, idempotency_key: str) -> Any:
    headers = {"authorization": f"Bearer {key}", "idempotency-key": idempotency_key}
    return Client(headers=headers).post(f"/api/v1{path}", body, content_type="application/json")


def change(key: str, path: str, body: Any, tag: str, method: str = "PATCH") -> Any:
    headers = {"authorization": f"Bearer {key}", "if-match": tag}
    client: Any = Client(headers=headers)
    return client.generic(method, f"/api/v1{path}", body, content_type="application/json")


# Idempotency-Key


@pytest.mark.django_db
def test_the_same_request_again_gets_the_same_answer(alice: Tenant) -> None:
    first, second = (post(alice.api_key, "/servers", NEW, "k1") for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    with alice.scope:
        assert Server.objects.filter(name="edge-2").count() == 1
        row = IdempotentAnswer.objects.get()
        assert first.json()["token"].encode() not in bytes(row.answer)


@pytest.mark.django_db
def test_a_key_is_for_one_request_of_one_caller(alice: Tenant, mallory: Tenant) -> None:
    assert post(alice.api_key, "/servers", NEW, "k1").status_code == 201
    other = post(alice.api_key, "/servers", {"name": "edge-3"}, "k1")
    assert (other.status_code, other.json()["type"]) == (422, "urn:lumos:problem:idempotency_key_reused")
    foreign = post(mallory.api_key, "/servers", NEW, "k1")
    assert foreign.status_code == 201
    assert "Idempotent-Replayed" not in foreign
    assert post(alice.api_key, "/servers", NEW, "with blanks").status_code == 400
    assert post("lmsk_" + "0" * 64, "/servers", NEW, "k1").status_code == 401


@pytest.mark.django_db
def test_what_failed_may_be_tried_again(alice: Tenant) -> None:
    assert post(alice.api_key, "/servers", {"name": ""}, "k1").status_code == 400
    assert post(alice.api_key, "/servers", NEW, "k1").status_code == 201
    assert post(alice.api_key, "/servers", NEW, "k2").status_code == 409
    with alice.scope:
        assert IdempotentAnswer.objects.count() == 1


@pytest.mark.django_db
def test_answers_are_kept_for_a_day(alice: Tenant) -> None:
    assert post(alice.api_key, "/ip-lists", entry(alice), "k1").status_code == 201
    with alice.scope:
        IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
        assert post(alice.api_key, "/servers", NEW, "k1").status_code == 201
        IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
        tasks.expire_old_rows()
        assert IdempotentAnswer.objects.count() == 0


def entry(owner: Tenant) -> dict[str, str]:
    return {"domain": str(owner.domain.pk), "kind": "deny", "network": "192.0.2.77"}


def in_threads(count: int, run: Any) -> list[Any]:
    def closed(number: int) -> Any:
        try:
            return run(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(closed, range(count)))


@pytest.mark.django_db(transaction=True)
def test_duplicates_at_once_do_it_once() -> None:
    owner = tenant("alice", "alice.example")
    answers = in_threads(8, lambda _: post(owner.api_key, "/servers", NEW, "k1"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer for answer in answers) == 7
    with owner.scope:
        assert Server.objects.filter(name="edge-2").count() == 1


# ETag and If-Match


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_is_made_to_what_was_seen(alice: Tenant, api: Api, method: str) -> None:
    path = f"/domains/{alice.domain.pk}"
    seen = api.get(path)["ETag"]
    changed = api.patch(path, {"origins": [{"address": "10.0.0.9", "port": 80}]})
    assert changed["ETag"] == api.get(path)["ETag"] != seen
    refused = change(alice.api_key, path, "{}", seen, method)
    assert refused.status_code == 412
    assert refused.json()["type"] == "urn:lumos:problem:precondition_failed"
    assert refused["ETag"] == changed["ETag"]
    passed = change(alice.api_key, path, "{}", f'"other", {changed["ETag"]}', method)
    assert passed.status_code == (200 if method == "PATCH" else 204)


@pytest.mark.django_db
def test_a_tag_does_not_move_with_what_nobody_changes(alice: Tenant, api: Api) -> None:
    path = f"/servers/{alice.server.pk}"
    seen = api.get(path)["ETag"]
    with alice.scope:
        Server.objects.update(last_seen_at=timezone.now(), facts={"cpu": 3})
    assert api.get(path)["ETag"] == seen
    assert change(alice.api_key, path, '{"region": "x"}', seen).status_code == 200
    assert change(alice.api_key, path, '{"region": "y"}', seen).status_code == 412
    assert change(alice.api_key, path, '{"region": "y"}', "*").status_code == 200
    assert change(alice.api_key, f"/servers/{uuid.uuid4()}", "{}", "*").status_code == 404


@pytest.mark.django_db
def test_settings_without_an_id_have_a_tag_as_well(alice: Tenant, api: Api) -> None:
    path = f"/domains/{alice.domain.pk}/guard"
    seen = api.get(path)["ETag"]
    body = '{"bot_check": {"mode": "always"}}'
    assert change(alice.api_key, path, body, seen).status_code == 200
    assert change(alice.api_key, path, body, seen).status_code == 412


@pytest.mark.django_db(transaction=True)
def test_of_changes_at_once_one_is_made() -> None:
    owner = tenant("alice", "alice.example")
    path = f"/domains/{owner.domain.pk}"
    for number in range(3):
        seen = Api(owner.api_key).get(path)["ETag"]

        def run(thread: int, seen: str = seen, number: int = number) -> int:
            body = f'{{"origins": [{{"address": "10.0.{number}.{thread + 1}", "port": 80}}]}}'
            return int(change(owner.api_key, path, body, seen).status_code)

        found = sorted(in_threads(4, run))
        assert found == [200, 412, 412, 412]
    with owner.scope:
        assert Domain.objects.get().origins.count() == 1


# Lists and problems


def views(patterns: list[Any]) -> Iterator[Any]:
    """Yield the views of all routes."""
    for found in patterns:
        if isinstance(found, URLResolver):
            yield from views(found.url_patterns)
        else:
            yield found.callback


def test_every_list_has_a_cursor() -> None:
    lists = [view.cls for view in views(get_resolver().url_patterns) if "list" in getattr(view, "actions", {}).values()]
    assert len(lists) > 10
    assert [view.__name__ for view in lists if not issubclass(view.pagination_class, CursorPagination)] == []


def codes(kind: type[Any]) -> Iterator[str]:
    """Yield the codes of an error and of those derived from it."""
    yield str(getattr(kind, "code", None) or getattr(kind, "default_code", ""))
    for derived in kind.__subclasses__():
        yield from codes(derived)


def test_every_type_of_problem_is_documented() -> None:
    text = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text()
    own = {"not_found", "internal", "unavailable", "throttled", "idempotency_key_reused", "precondition_failed"}
    known = own | set(codes(AppError)) | {code for kind in DRF_PROBLEMS for code in codes(kind)}
    assert {code for code in known if f"`urn:lumos:problem:{code}`" not in text} == set()


def test_the_description_names_the_doors(client: Client, db: None) -> None:
    answer = client.get("/api/v1/schema", headers={"accept": "application/vnd.oai.openapi+json"})
    found = json.loads(answer.content)["paths"]["/api/v1/domains"]["post"]
    assert "Idempotency-Key" in {parameter["name"] for parameter in found["parameters"]}
    assert {"400", "401", "409", "422"} <= found["responses"].keys()


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/nothing", "/two%0Alines"])
def test_an_unknown_address_is_a_problem_whatever_the_method(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:lumos:problem:not_found")


def test_our_mistakes_are_problems_too(api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(api._client, "raise_request_exception", False)
    monkeypatch.setattr("domains.api.DomainViewSet.get_queryset", lambda _: 1 / 0)
    answer = api.get("/domains")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:lumos:problem:internal")


@pytest.mark.parametrize(
    ("since", "status"),
    [("0404-02-13T06:19:45-21:45", 200), ("0001-01-01T00:00:00+12:00", 400), ("9999-12-31T23:59:59-12:00", 400)],
)
@pytest.mark.parametrize("path", ["/metrics", "/events", "/ledger", "/audit-entries", "/notifications"])
def test_times_with_any_offset(api: Api, path: str, since: str, status: int) -> None:
    assert api.get(f"{path}?since={since.replace('+', '%2B')}").status_code == status
