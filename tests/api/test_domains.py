"""Domains through the API: what is refused at the door, and what a change does."""

from typing import Any

import pytest

from domains.models import Domain
from servers.models import Server
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def body(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    origins = [{"address": "127.0.0.1", "port": 8080}]
    return {"hostname": "shop.example", "origins": origins, "servers": [str(tenant.server.pk)], **changes}


def test_create_answers_what_was_made_and_bumps_the_server(api: Api, alice: Tenant) -> None:
    answer = api.post("/domains", body(alice, hostname="Shöp.Example."))
    assert answer.status_code == 201
    assert answer.json()["hostname"] == "xn--shp-tna.example"
    assert answer.json()["servers"] == [str(alice.server.pk)]
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 1


@pytest.mark.parametrize(
    "hostname",
    [
        "a\nuse_backend x", "a.example\n", "example", "", "a b.example", "-a.example", "a..example", "1.2.3.4", "[::1]",
        "x" * 64 + ".example", "a." * 130 + "example", 'a".example', "a.example/x", "a.example:80", "a_b.example", "\0.example",
        "http://a.example", "xn--a.example\r\nX: y", "*.", "*.*.example", "a.*.example", "*example.com", "ex ample.example", "0x7f.1", "２.example\n",
    ],
)  # fmt: skip
def test_hostname_that_is_none_is_refused_and_nothing_is_pushed(api: Api, alice: Tenant, hostname: str) -> None:
    answer = api.post("/domains", body(alice, hostname=hostname))
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "hostname"
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision
        assert Domain.objects.count() == 1


@pytest.mark.parametrize(
    "address",
    [
        "169.254.1.1", "169.254.169.254", "0.0.0.0", "::", "fe80::1", "fe80::1%eth0", "ff02::1", "224.0.0.1",
        "255.255.255.255", "::ffff:169.254.1.1", "::ffff:a9fe:a9fe", "::a9fe:101", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
        "0xa9.0xfe.1.1", "0xa9fe0101", "2852061441", "0251.0376.1.1", "169.254.257", "169.16646401", "0x7f.1", "127.1", "0",
        "0177.0.0.1", "1.2.3.4.5", "[fe80::1]", "0xA9FE.0101", "169.254.1.1.", "a b", "a\nserver x", "", "x" * 300, "[::1",
    ],
)  # fmt: skip
def test_origin_nobody_can_reach_is_refused_in_every_spelling(api: Api, alice: Tenant, address: str) -> None:
    answer = api.post("/domains", body(alice, origins=[{"address": address, "port": 80}]))
    assert answer.status_code == 400, answer.content
    assert "address" in answer.json()["errors"][0]["field"]
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("10.0.0.7", "10.0.0.7"), ("192.168.1.1", "192.168.1.1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"),
        ("fd00::7", "fd00::7"), ("[2001:DB8::7]", "2001:db8::7"), ("::ffff:10.1.2.3", "10.1.2.3"), ("::1", "::1"),
        ("Origin.Example.COM.", "origin.example.com"), ("bücher.example", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_usable_origin_is_kept_in_canonical_form(api: Api, alice: Tenant, address: str, kept: str) -> None:
    answer = api.post("/domains", body(alice, origins=[{"address": address, "port": 80}]))
    assert answer.status_code == 201, answer.content
    assert answer.json()["origins"][0]["address"] == kept


@pytest.mark.parametrize("port", [0, 70000, -1, "http", None, 65536])
def test_port_out_of_range_is_refused(api: Api, alice: Tenant, port: Any) -> None:
    assert api.post("/domains", body(alice, origins=[{"address": "10.0.0.1", "port": port}])).status_code == 400


@pytest.mark.parametrize(("origin", "missing"), [({"address": "10.0.0.1"}, "port"), ({"port": 80}, "address")])
def test_an_origin_is_whole_in_a_change_too(api: Api, alice: Tenant, origin: Any, missing: str) -> None:
    answer = api.patch(f"/domains/{alice.domain.pk}", {"origins": [origin]})
    assert (answer.status_code, missing in answer.content.decode()) == (400, True)


def test_same_hostname_twice_is_a_conflict_in_every_spelling(api: Api, alice: Tenant) -> None:
    for hostname in ("alice.example", "ALICE.example", "alice.example."):
        answer = api.post("/domains", body(alice, hostname=hostname))
        assert answer.status_code == 409
        assert "already exists" in answer.json()["detail"]


def test_two_accounts_may_protect_the_same_hostname(api: Api, alice: Tenant, mallory: Tenant) -> None:
    assert api.post("/domains", body(alice, hostname="mallory.example")).status_code == 201


def test_patch_replaces_what_it_names_and_keeps_the_rows_that_stay(api: Api, alice: Tenant) -> None:
    path = f"/domains/{alice.domain.pk}"
    kept = api.get(path).json()["origins"][0]["id"]
    answer = api.patch(
        path, {"origins": [{"address": "10.0.0.9", "port": 81}, {"address": "127.0.0.1", "port": 8080, "weight": 5}]}
    )
    assert answer.status_code == 200, answer.content
    assert [(o["address"], o["weight"]) for o in answer.json()["origins"]] == [("10.0.0.9", 100), ("127.0.0.1", 5)]
    assert answer.json()["origins"][1]["id"] == kept
    assert answer.json()["servers"] == [str(alice.server.pk)]


def test_patch_that_changes_nothing_pushes_nothing(api: Api, alice: Tenant) -> None:
    path = f"/domains/{alice.domain.pk}"
    assert api.patch(path, {"hostname": "alice.example"}).status_code == 200
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision


def test_failed_patch_leaves_everything_as_it_was(api: Api, alice: Tenant) -> None:
    path = f"/domains/{alice.domain.pk}"
    before = api.get(path).json()
    refused = api.patch(
        path, {"hostname": "new.example", "origins": [{"address": "10.0.0.1", "port": 1, "backup": True}]}
    )
    assert refused.status_code == 400
    assert api.get(path).json() == before


def test_another_tenants_server_does_not_exist(api: Api, alice: Tenant, mallory: Tenant) -> None:
    answer = api.post("/domains", body(alice, servers=[str(mallory.server.pk)]))
    assert answer.status_code == 400
    assert "servers" in answer.json()["errors"][0]["field"]


def test_delete_removes_and_allows_the_shrink(api: Api, alice: Tenant) -> None:
    assert api.delete(f"/domains/{alice.domain.pk}").status_code == 204
    with alice.scope:
        server = Server.objects.get()
        assert (server.revision, server.removed_domains) == (alice.server.revision + 1, 1)


@pytest.mark.parametrize("raw", ["", "{", "[]", '"x"', "null", "[1]", '{"origins": 3}', '{"origins": [3]}'])
def test_broken_bodies_are_problems(api: Api, raw: str) -> None:
    answer = api._client.generic("POST", "/api/v1/domains", raw, content_type="application/json")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_list_is_constant_in_queries(api: Api, alice: Tenant, django_assert_num_queries: Any) -> None:
    for number in range(5):
        api.post("/domains", body(alice, hostname=f"d{number}.example"))
    api.get("/domains")
    with django_assert_num_queries(10):
        assert len(api.get("/domains").json()["results"]) == 6


def patched(api: Api, alice: Tenant, traffic: Any) -> Any:
    with alice.scope:
        pk = Domain.objects.get().pk
    return api.patch(f"/domains/{pk}", {"traffic": traffic})


def test_traffic_settings_are_merged_and_shown_whole(api: Api, alice: Tenant) -> None:
    first = patched(
        api, alice, {"compression": True, "trusted_proxies": ["10.0.0.1", "::ffff:10.0.0.1", "192.0.2.9/24"]}
    )
    assert first.status_code == 200, first.content
    second = patched(api, alice, {"health": {"path": "/up"}, "origin_host": "Bücher.example"}).json()["traffic"]
    assert (second["compression"], second["health"]["path"], second["health"]["interval_seconds"]) == (True, "/up", 10)
    assert second["trusted_proxies"] == ["10.0.0.1/32", "192.0.2.0/24"]
    assert second["origin_host"] == "xn--bcher-kva.example"
    with alice.scope:
        assert Domain.objects.get().traffic.keys() == {"compression", "trusted_proxies", "health", "origin_host"}
        assert Server.objects.get().revision == alice.server.revision + 2
    assert patched(api, alice, {"compression": False}).json()["traffic"]["compression"] is False


@pytest.mark.parametrize(
    ("traffic", "field", "hint"),
    [
        ([], "traffic", "object"),
        ({"comprssion": True}, "traffic", "comprssion"),
        ({"compression": "yes"}, "traffic.compression", "bool"),
        ({"headers": [{"on": "request", "action": "set", "name": "X Y", "value": "1"}]}, "traffic.headers[0].name", "hyphens"),
        ({"headers": [{"on": "request", "action": "set", "name": "X", "value": "a\nb"}]}, "traffic.headers[0].value", "one line"),
        ({"headers": [{"on": "request", "action": "set", "name": "X"}]}, "traffic.headers[0]", "no value"),
        ({"headers": [{"on": "request", "action": "set", "name": "host", "value": "a"}]}, "traffic.headers[0]", "connection"),
        ({"redirects": [{"path": "/a b", "to": "/"}]}, "traffic.redirects[0].path", "begins with /"),
        ({"redirects": [{"path": "/a", "to": "javascript:alert(1)"}]}, "traffic.redirects[0].to", "http"),
        ({"routes": [{"path": "/a", "origins": [{"address": "169.254.169.254", "port": 80}]}]},
         "traffic.routes[0].origins[0].address", "cannot be an origin"),
        ({"routes": [{"path": "/a", "origins": []}]}, "traffic.routes[0].origins", "length"),
        ({"trusted_proxies": ["10.0.0.0/33"]}, "traffic.trusted_proxies[0]", "10.0.0.0/33"),
        ({"origin_host": "a b"}, "traffic.origin_host", "hostname"),
        ({"health": {"status": "399-200"}}, "traffic.health", "smaller"),
        ({"body_bytes_max": -1}, "traffic.body_bytes_max", ">= 0"),
        ({"pages": {"denied": "x" * 9000}}, "traffic.pages.denied", "8192"),
    ],
)  # fmt: skip
def test_bad_traffic_setting_is_named_and_nothing_is_pushed(
    api: Api, alice: Tenant, traffic: Any, field: str, hint: str
) -> None:
    answer = patched(api, alice, traffic)
    assert answer.status_code == 400, answer.content
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert hint in error["message"]
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision


@pytest.mark.parametrize("hostname", ["*.Example.COM", "*"])
def test_wildcard_and_catch_all(api: Api, alice: Tenant, hostname: str) -> None:
    answer = api.post("/domains", body(alice, hostname=hostname))
    assert answer.status_code == 201, answer.content
    assert answer.json()["hostname"] == hostname.lower()
