"""The account's configuration as one document: export, dry run, import."""

import json
from typing import Any

import pytest

from accounts.models import AuditEntry, Membership
from domains.config_document import encoded
from domains.models import Domain
from domains.zone_models import ZoneRecord
from lumos_agent.document import (
    DOCUMENT_BYTES_MAX,
    ConfigChannel,
    ConfigDocument,
    ConfigFlood,
    ConfigForward,
    ConfigRecord,
)
from notifications.channels import AUDITED
from servers.forward_parts import FLOOD_FIELDS
from servers.forwards import FIELDS
from servers.models import Server, SnapshotRecord
from servers.services import EDITABLE
from tests import factories
from tests.api.test_restore import at_once
from tests.conftest import Api
from tests.factories import Tenant
from waf.compiler import is_under_attack
from waf.models import ListEntry

pytestmark = pytest.mark.django_db

ORIGINS = [{"address": "10.0.0.1", "port": 80}]


def exported(api: Api) -> bytes:
    answer = api.get("/config")
    assert answer.status_code == 200, answer.content
    content: bytes = answer.content
    return content


def send(api: Api, document: Any, query: str = "dry_run=false") -> Any:
    raw = document if isinstance(document, bytes) else json.dumps(document)
    return api._client.generic("PUT", f"/api/v1/config?{query}", raw, content_type="application/json")


def done(api: Api, document: Any, query: str = "dry_run=false") -> dict[str, list[Any]]:
    """Import and return {kind: names}."""
    answer = send(api, document, query)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    return {
        kind: [f"{s['what']} {s['name']}" for s in body[kind]] for kind in ("create", "change", "delete") if body[kind]
    }


def doc(*domains: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": 1, "domains": list(domains), **more}


def fill(api: Api, tenant: Tenant) -> None:
    """Give an account something of everything."""
    second = api.post("/servers", {"name": "b-shield", "region": "fra", "public_ipv6": "2001:db8::1"}).json()["server"]
    traffic = {
        "compression": True,
        "health": {"interval_seconds": 10},
        "hsts": {"seconds": 31536000},
        "timeouts": {"connect_seconds": 3},
        "headers": [{"on": "response", "action": "set", "name": "X-A", "value": "b"}],
        "routes": [{"path": "/api", "origins": [{"address": "api.example", "port": 443, "tls": "verify"}]}],
    }
    origins = [
        {"address": "origin.example", "port": 443, "tls": "verify", "weight": 7},
        {"address": "2001:db8::7", "port": 80, "backup": True, "enabled": False},
    ]
    servers = [second["id"], str(tenant.server.pk)]
    body = {
        "hostname": "*.shop.example",
        "origins": origins,
        "servers": servers,
        "traffic": traffic,
        "certificate": "off",
        "rollout": "staged",
    }
    made = api.post("/domains", body)
    assert made.status_code == 201, made.content
    api.post("/domains", {"hostname": "nowhere.example", "origins": ORIGINS, "servers": []})
    api.patch(f"/policies/{made.json()['policy']}", {"mode": "detect", "level": "high", "groups": {"xss": "block"}})
    script = {"mode": "on", "fails": "closed", "source": "-- ü\nngx.exit(403)\n"}
    assert api.patch(f"/domains/{made.json()['id']}/script", script).status_code == 200
    for path, parameter in (("/b", "q"), ("/B", ""), ("/a", "")):
        body = {"domain": made.json()["id"], "rule": "sqli", "path": path, "parameter": parameter, "note": "editor"}
        assert api.post("/exclusions", body).status_code == 201
    for number, action in enumerate(("block", "allow")):
        rule = {"name": f"r{number}", "expression": 'path eq "/x"', "action": action, "enabled": not number}
        rule |= {"domain": made.json()["id"], "expires_at": "2100-01-01T00:00:00Z"}
        assert api.post("/custom-rules", rule).status_code == 201
    zone = api.post("/zones", {"name": "shop.example", "servers": [second["id"]]}).json()["id"]
    for record in (
        {"name": "@", "type": "PROXIED", "data": "first"},
        {"name": "@", "type": "PROXIED", "data": "first", "place": "continent:EU", "server": second["id"]},
        {"name": "w", "type": "A", "data": "192.0.2.1", "weight": 3, "ttl": 30},
        {"name": "@", "type": "TXT", "data": "ü" * 200},
        {"name": "shop", "type": "ALIAS", "data": "shop.example.net"},
    ):
        answer = api.post("/zone-records", {"zone": zone, **record})
        assert answer.status_code == 201, answer.content
    for kind, network, note in (
        ("allow", "10.0.0.0/8", "büro"),
        ("deny", "2001:db8::/32", ""),
        ("deny", "192.0.2.1", "x"),
    ):
        api.post("/ip-lists", {"domain": made.json()["id"], "kind": kind, "network": network, "note": note})
    game = {"server": second["id"], "name": "game", "protocol": "udp", "port": 27015, "target": "203.0.113.7"}
    for forward in (
        game | {"target_port": 27016, "packets_per_second": 90},
        game | {"name": "mail", "protocol": "tcp", "port": 25, "target_port": 25, "proxy_protocol": "v2"},
    ):
        assert api.post("/forwards", forward).status_code == 201
    flood = {"connections": 200, "bans": True}
    assert api.patch(f"/servers/{second['id']}/flood-protection", flood).status_code == 200
    assert api.post("/tunnels", {"name": "web-1"}).status_code == 201
    assert api.call("PUT", "/tunnel-network", {"network": "10.99.0.0/16", "mtu": 1400}).status_code == 200
    for scope in (made.json()["id"], None):
        url = f"https://lists.example/{bool(scope)}"
        follow = {"domain": scope, "kind": "deny", "url": url, "interval_hours": 6}
        assert api.post("/list-subscriptions", follow).status_code == 201
    ca = {"directory_url": "https://ca.example/directory", "email": "ops@example.com"}
    assert api.call("PUT", "/certificate-authority", ca).status_code == 200
    hook = {"kind": "webhook", "name": "hook", "target": "https://hooks.example/x", "choices": {"new_login": False}}
    assert api.post("/notification-channels", hook).status_code == 201


def test_export_into_an_empty_account_exports_the_same_bytes(api: Api, alice: Tenant) -> None:
    fill(api, alice)
    carol = factories.tenant("carol", "carol.example")
    other = Api(carol.api_key)
    document = exported(api)
    assert set(done(other, document, "dry_run=false&prune=true")) == {"create", "change", "delete"}
    assert exported(other) == document
    assert done(other, document, "dry_run=false&prune=true") == {}
    assert done(api, document, "dry_run=false&prune=true") == {}


def test_export_has_no_secrets_ids_or_times(api: Api, alice: Tenant) -> None:
    fill(api, alice)
    document = json.loads(exported(api))
    assert list(document) == ["version", "account", "tunnels", "servers", "domains", "zones", "channels"]
    assert document["servers"][0] == {
        "name": "alice-shield", "region": "", "public_ipv4": None, "public_ipv6": None, "forwards": [],
        "flood": {"connections": 0, "new_per_second": 0, "bans": False},
    }  # fmt: skip
    assert [forward["name"] for forward in document["servers"][1]["forwards"]] == ["mail", "game"]
    (hook,) = document["channels"]
    assert hook.keys() == {"name", "kind", "target", "choices", "digest", "enabled"}
    assert document["tunnels"] == [{"name": "web-1"}]
    (star, site, _) = document["domains"]
    assert site == {
        "hostname": "alice.example",
        "origins": [
            {"address": "127.0.0.1", "port": 8080, "weight": 100, "backup": False, "enabled": True, "tls": "off"}
        ],
        "servers": ["alice-shield"],
        "traffic": {},
        "certificate": "acme",
        "rollout": "all",
        "policy": {"mode": "block", "level": "medium", "groups": {}, "custom": [], "exclusions": []},
        "guard": {},
        "script": {"mode": "off", "fails": "open", "source": ""},
        "lists": {"allow": [], "deny": [{"network": "203.0.113.7/32", "note": ""}]},
        "subscriptions": [],
        "failover": None,
    }
    assert set(star["traffic"]) == {"compression", "health", "hsts", "headers", "routes"}
    assert star["traffic"]["hsts"] == {}
    assert str(alice.server.pk) not in json.dumps(document)


def test_export_is_a_download_and_constant_in_queries(
    api: Api, alice: Tenant, django_assert_max_num_queries: Any
) -> None:
    done(api, doc(*({"hostname": f"d{n}.example", "origins": ORIGINS} for n in range(8))))
    with django_assert_max_num_queries(26):
        answer = api.get("/config")
    assert answer["Content-Disposition"] == 'attachment; filename="lumos-config.json"'
    assert answer["Content-Type"] == "application/json"


def test_dry_run_shows_the_plan_and_changes_nothing(api: Api, alice: Tenant) -> None:
    before = exported(api)
    document = doc(
        {"hostname": "alice.example", "policy": {"mode": "off", "level": "medium"}, "traffic": {"compression": True}},
        {"hostname": "Neu.Example.", "origins": ORIGINS, "servers": ["new"]},
        servers=[{"name": "new"}],
    )
    answer = send(api, document, "dry_run=true").json()
    assert answer["dry_run"] is True
    assert answer["servers_without_token"] == ["new"]
    assert [(s["what"], s["name"]) for s in answer["create"]] == [("server", "new"), ("domain", "neu.example")]
    assert answer["create"][1]["fields"]["servers"] == [None, ["new"]]
    assert answer["change"] == [
        {
            "what": "domain",
            "name": "alice.example",
            "fields": {"policy.mode": ["block", "off"], "traffic.compression": [None, True]},
        }
    ]
    assert answer["delete"] == []
    assert exported(api) == before
    real = send(api, document).json()
    assert {**real, "dry_run": True} == answer
    assert "token" not in json.dumps(real).replace("servers_without_token", "")


def test_import_is_one_revision_with_its_entry_and_the_second_does_nothing(api: Api, alice: Tenant) -> None:
    document = doc(*({"hostname": f"d{n}.example", "origins": ORIGINS, "servers": ["alice-shield"]} for n in range(5)))
    done(api, document)
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 1
        entry = AuditEntry.objects.get(action="config.imported")
        assert entry.changes == {"created": [None, 5]}
        assert AuditEntry.objects.filter(action="domain.added").count() == 6
        assert SnapshotRecord.objects.order_by("-revision")[0].cause == "config imported: alice's (created 5)"
    assert done(api, document) == {}
    with alice.scope:
        assert AuditEntry.objects.filter(action="config.imported").count() == 1
        assert Server.objects.get().revision == alice.server.revision + 1


def test_what_a_document_does_not_name_stays(api: Api, alice: Tenant) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"traffic": {"compression": True, "cache": True}})
    assert done(api, doc({"hostname": "alice.example"})) == {}
    assert done(api, {"version": 1}, "dry_run=false&prune=true") == {}
    done(api, doc({"hostname": "alice.example", "traffic": {"cache": True}}))
    traffic = api.get(f"/domains/{alice.domain.pk}").json()["traffic"]
    assert (traffic["compression"], traffic["cache"]) == (False, True)
    with alice.scope:
        assert ListEntry.objects.count() == 1


def test_each_part_of_a_domain_can_change(api: Api, alice: Tenant) -> None:
    lists = {"deny": [{"network": "203.0.113.7", "note": "seen"}, {"network": "198.51.100.9/24"}]}
    origins = [{"address": "localhost", "port": 9, "tls": "on"}]
    site = {"hostname": "alice.example", "origins": origins, "lists": lists, "certificate": "off", "servers": ["z"]}
    assert done(api, doc(site, servers=[{"name": "z", "region": "x"}, {"name": "alice-shield", "region": "y"}])) == {
        "create": ["server z"],
        "change": ["server alice-shield", "domain alice.example"],
    }
    document = json.loads(exported(api))
    (domain,) = document["domains"]
    assert [s["region"] for s in document["servers"]] == ["y", "x"]
    assert (domain["origins"][0]["address"], domain["certificate"], domain["servers"]) == ("127.0.0.1", "off", ["z"])
    assert domain["lists"]["deny"] == [
        {"network": "198.51.100.0/24", "note": ""},
        {"network": "203.0.113.7/32", "note": "seen"},
    ]
    with alice.scope:
        assert Server.objects.get(name="alice-shield").removed_domains == 1


def test_a_new_note_alone_pushes_nothing(api: Api, alice: Tenant) -> None:
    site = {"hostname": "alice.example", "lists": {"deny": [{"network": "203.0.113.7/32", "note": "scanner"}]}}
    assert done(api, doc(site)) == {"change": ["domain alice.example"]}
    with alice.scope:
        assert ListEntry.objects.get().note == "scanner"
        assert Server.objects.get().revision == alice.server.revision
        assert AuditEntry.objects.get(action="lists.replaced").changes == {"notes": [None, 1]}


def test_prune_deletes_what_a_named_section_lacks(api: Api, alice: Tenant) -> None:
    done(api, doc({"hostname": "b.example", "origins": ORIGINS, "servers": ["alice-shield"]}, servers=[{"name": "z"}]))
    only_b = doc({"hostname": "b.example", "servers": ["alice-shield"]})
    assert done(api, only_b) == {}
    assert done(api, only_b, "dry_run=true&prune=true") == {"delete": ["domain alice.example"]}
    assert done(api, {**only_b, "servers": [{"name": "alice-shield"}]}, "dry_run=false&prune=true") == {
        "delete": ["server z", "domain alice.example"]
    }
    with alice.scope:
        assert Server.objects.get().removed_domains == 1
        assert [d.hostname for d in Domain.objects.all()] == ["b.example"]


def test_server_that_carries_a_domain_is_not_pruned(api: Api, alice: Tenant) -> None:
    for document in (
        {"version": 1, "servers": []},
        {"version": 1, "servers": [], "domains": [{"hostname": "alice.example"}]},
    ):
        answer = send(api, document, "dry_run=true&prune=true")
        assert answer.status_code == 409
        assert "alice.example" in answer.json()["detail"]


def test_prune_is_for_admins(api: Api, alice: Tenant) -> None:
    Membership.objects.filter(user=alice.owner).update(role="member")
    assert send(api, doc(), "prune=true").status_code == 403
    assert send(api, doc(), "dry_run=false").status_code == 200
    Membership.objects.filter(user=alice.owner).update(role="viewer")
    assert send(api, doc(), "dry_run=true").status_code == 403
    assert api.get("/config").status_code == 200


SITE = {"hostname": "a.example", "origins": ORIGINS}


@pytest.mark.parametrize(
    ("document", "field", "hint"),
    [
        ({}, None, "version"),
        ({"version": 2}, "version", "version 1"),
        ({"version": 1, "domain": []}, None, "domain"),
        ({"version": 1, "domains": {}}, "domains", "array"),
        (doc(SITE, {"hostname": "b.example"}), "domains[1].origins", "at least one origin"),
        (doc(SITE, {**SITE, "hostname": "A.example."}), "domains[1].hostname", "twice"),
        (doc({**SITE, "hostname": "no"}), "domains[0].hostname", "hostname"),
        (doc({**SITE, "colour": "red"}), "domains[0]", "colour"),
        (doc({**SITE, "id": "7"}), "domains[0]", "id"),
        (doc(SITE, {**SITE, "hostname": "b.example", "origins": [{"address": "169.254.1.1", "port": 80}]}),
         "domains[1].origins[0].address", "cannot be an origin"),
        (doc({**SITE, "origins": [{"address": "10.0.0.1", "port": 0}]}), "domains[0].origins[0].port", ">= 1"),
        (doc({**SITE, "origins": [{"address": "10.0.0.1"}]}), "domains[0].origins[0]", "port"),
        (doc({**SITE, "origins": []}), "domains[0].origins", "at least one"),
        (doc({**SITE, "servers": ["alice-shield", "typo"]}), "domains[0].servers[1]", "typo"),
        (doc({**SITE, "servers": ["alice-shield", "alice-shield"]}), "domains[0].servers[1]", "twice"),
        (doc({**SITE, "servers": ["mallory-shield"]}), "domains[0].servers[0]", "no server"),
        (doc({**SITE, "traffic": {"compresion": True}}), "domains[0].traffic", "compresion"),
        (doc({**SITE, "traffic": {"headers": [{"on": "request", "action": "set", "name": "A B", "value": "1"}]}}),
         "domains[0].traffic.headers[0].name", "hyphens"),
        (doc({**SITE, "traffic": None}), "domains[0].traffic", "object"),
        (doc({**SITE, "policy": {"mode": "maybe"}}), "domains[0].policy.mode", "maybe"),
        (doc({**SITE, "certificate": "buy"}), "domains[0].certificate", "buy"),
        (doc({**SITE, "lists": {"deny": [{"network": "0.0.0.0/0"}]}}), "domains[0].lists.deny[0].network", "every address"),
        (doc({**SITE, "lists": {"allow": [{"network": "::1"}, {"network": "::1/128"}]}}),
         "domains[0].lists.allow[1].network", "twice"),
        (doc({**SITE, "lists": {"allow": [{"network": "::1", "note": "\0"}]}}), "domains[0].lists.allow[0].note", "NUL"),
        (doc(servers=[{"name": "x", "token": "lmst_0"}]), "servers[0]", "token"),
        (doc(servers=[{"name": "  "}]), "servers[0].name", "name"),
        (doc(servers=[{"name": "x"}, {"name": "x "}]), "servers[1].name", "twice"),
        (doc(servers=[{"name": "x", "public_ipv4": "::1"}]), "servers[0].public_ipv4", "::1"),
    ],
)  # fmt: skip
def test_mistake_is_named_by_its_place_and_nothing_is_imported(
    api: Api, alice: Tenant, mallory: Tenant, document: Any, field: str | None, hint: str
) -> None:
    before = exported(api)
    for query in ("dry_run=true", "dry_run=false"):
        answer = send(api, document, query)
        assert answer.status_code == 400, answer.content
        assert answer["Content-Type"] == "application/problem+json"
        found = answer.json()
        assert hint in found["detail"]
        assert [e["field"] for e in found.get("errors", [])] == ([field] if field else [])
    assert exported(api) == before


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"version":1,"domains":' + b"[" * 100_000, b"{'a'"]
)
def test_what_is_no_document_is_a_problem(api: Api, raw: bytes) -> None:
    answer = send(api, raw)
    assert answer.status_code == (400 if raw else 415), answer.content
    assert answer["Content-Type"] == "application/problem+json"


def test_deep_nesting_large_bodies_and_other_types_are_problems(api: Api) -> None:
    deep = b'{"version":1,"domains":[{"hostname":"a.example","traffic":{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}}]}"
    assert send(api, deep).status_code == 400
    assert send(api, b" " * (DOCUMENT_BYTES_MAX + 1)).json()["detail"].startswith("The document has")
    assert send(api, b" " * 9_000_000).status_code == 400
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert api._client.generic("PUT", "/api/v1/config", b"{}", content_type=kind).status_code == 415
    assert send(api, doc(), "dry_run=maybe").json()["errors"][0]["field"] == "dry_run"


def test_failure_half_way_leaves_nothing(api: Api, alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    from domains import config_account
    from lumos.errors import LimitReached

    def refuse(**_: Any) -> None:
        raise LimitReached("full")

    monkeypatch.setattr(config_account, "replace_lists", refuse)
    before = exported(api)
    site = {**SITE, "lists": {"deny": [{"network": "10.0.0.1"}]}, "servers": ["new"]}
    assert send(api, doc({**SITE, "hostname": "0.example"}, site, servers=[{"name": "new"}])).status_code == 409
    assert exported(api) == before
    with alice.scope:
        assert not AuditEntry.objects.filter(action="config.imported").exists()
        assert Server.objects.get().revision == alice.server.revision


def test_document_is_described_in_the_schema(api: Api) -> None:
    text = api.get("/schema?format=json").content.decode()
    assert "#/components/schemas/ConfigDocument" in text
    assert '"ConfigListEntry"' in text


def test_encoding_leaves_out_what_is_unset() -> None:
    assert json.loads(encoded(ConfigDocument(version=1))) == {"version": 1}


def test_counters_are_no_configuration(api: Api, alice: Tenant) -> None:
    path = f"/domains/{alice.domain.pk}"
    api.patch(path, {"traffic": {"cache_purges": 3, "cache": True}})
    assert json.loads(exported(api))["domains"][0]["traffic"] == {"cache": True}
    assert done(api, doc({"hostname": "alice.example", "traffic": {"cache_purges": 9}})) == {
        "change": ["domain alice.example"]
    }
    traffic = api.get(path).json()["traffic"]
    assert (traffic["cache_purges"], traffic["cache"]) == (3, False)


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_follow_one_another(api: Api, alice: Tenant) -> None:
    document = doc(
        {**SITE, "servers": ["new"]}, {"hostname": "alice.example", "certificate": "off"}, servers=[{"name": "new"}]
    )
    answers = at_once(*(lambda: send(Api(alice.api_key), document) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200, 200, 200], [answer.content for answer in answers]
    assert sorted(len(answer.json()["create"]) for answer in answers) == [0, 0, 2]


def test_what_holds_for_all_domains_goes_along(api: Api, alice: Tenant) -> None:
    api.post("/ip-lists", {"domain": None, "kind": "deny", "network": "AS64500", "note": "scanners"})
    ban = {"domain": None, "kind": "deny", "network": "198.51.100.9", "expires_at": "2100-01-01T00:00:00Z"}
    assert api.post("/ip-lists", ban).status_code == 201
    api.patch("/under-attack", {"under_attack": True})
    document = json.loads(exported(api))
    assert document["account"] == {
        "under_attack": True, "lists": {"allow": [], "deny": [{"network": "AS64500", "note": "scanners"}]},
        "subscriptions": [], "certificate_authority": None,
        "own_channel": {"choices": {}, "digest": "hourly", "enabled": True},
    }  # fmt: skip
    assert done(api, document) == {}
    assert done(api, {"version": 1}) == {}
    only = {"version": 1, "account": {"lists": {"allow": [{"network": "192.0.2.7"}], "deny": []}}}
    assert done(api, only, "dry_run=true") == {"change": ["account all domains"]}
    assert done(api, only) == {"change": ["account all domains"]}
    with alice.scope:
        shared = ListEntry.objects.filter(domain=None).values_list("kind", "network")
        assert sorted(shared) == [("allow", "192.0.2.7/32"), ("deny", "198.51.100.9/32")]
        assert is_under_attack()
    assert done(api, document) == {"change": ["account all domains"]}
    assert done(api, document) == {}
    refused = send(api, {"version": 1, "account": {"lists": {"deny": [{"network": "0.0.0.0/0"}]}}})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "account.lists.deny[0].network")


def test_zones_change_and_go_as_a_document_says(api: Api, alice: Tenant) -> None:
    fill(api, alice)
    record = {"name": "www", "type": "A", "data": "192.0.2.1"}
    zones: list[dict[str, Any]] = [{"name": "Shop.Example", "servers": ["b-shield"], "records": [record]}]
    plan = done(api, {"version": 1, "zones": zones})
    assert plan == {"change": ["zone shop.example"]}
    assert done(api, {"version": 1, "zones": zones}) == {}
    zones[0]["records"].append({"name": "www", "type": "A", "data": "192.0.2.300"})
    refused = send(api, {"version": 1, "zones": zones}).json()
    assert refused["errors"][0]["field"] == "zones[0].records[1].data"
    zones[0] = {"name": "shop.example", "servers": ["nobody"]}
    assert send(api, {"version": 1, "zones": zones}).status_code == 400
    assert done(api, {"version": 1, "zones": []}, "dry_run=false&prune=true") == {"delete": ["zone shop.example"]}


def test_ports_tunnels_channels_and_the_account_change_as_a_document_says(api: Api, alice: Tenant) -> None:
    fill(api, alice)
    document = json.loads(exported(api))
    (mail, game), (hook,) = document["servers"][1]["forwards"], document["channels"]
    followed = api.get("/list-subscriptions").json()["results"]
    document["domains"][0]["subscriptions"][0]["interval_hours"] = 12
    document["servers"][1]["forwards"] = [{**mail, "port": 2525}, {**game, "packets_per_second": 0}]
    document["servers"][1]["flood"] = {"new_per_second": 50}
    document["tunnels"] = [{"name": "web-2"}]
    document["account"] |= {"certificate_authority": None, "subscriptions": [], "own_channel": {"digest": "daily"}}
    document["channels"] = [{**hook, "enabled": False}, {"name": "ops", "kind": "email", "target": "ops@example.com"}]
    changed = {"change": ["account all domains", "server b-shield", "domain *.shop.example", "channel hook"]}
    more = {"create": ["tunnel web-2", "channel ops"], "delete": ["tunnel web-1"]}
    assert done(api, document, "dry_run=true&prune=true") == changed | more
    assert done(api, document, "prune=true") == changed | more
    assert done(api, document, "prune=true") == {}
    after = json.loads(exported(api))
    assert [forward["port"] for forward in after["servers"][1]["forwards"]] == [2525, 27015]
    assert after["account"]["own_channel"]["digest"] == "daily"
    (kept,) = api.get("/list-subscriptions").json()["results"]
    assert (kept["interval_hours"], kept["id"] in {row["id"] for row in followed}) == (12, True)
    assert api.get("/certificate-authority").json()["directory_url"] == ""


@pytest.mark.parametrize(
    ("section", "field", "hint"),
    [
        ({"servers": [{"name": "x", "forwards": [{"name": "f", "port": 22, "target": "10.0.0.1", "target_port": 1}]}]},
         None, "SSH"),
        ({"servers": [{"name": "x", "forwards": [{"name": "f", "port": 9, "target": "169.254.1.1", "target_port": 1}]}]},
         "servers[0].forwards[0].target", "cannot be"),
        ({"account": {"subscriptions": [{"url": "ftp://lists.example/"}]}}, "account.subscriptions[0].url", ""),
        ({"account": {"tunnel_network": {"network": "8.8.8.0/24", "mtu": 1400}}}, "account.tunnel_network.network", ""),
        ({"account": {"certificate_authority": {"directory_url": "gopher://x"}}}, "account.certificate_authority", ""),
        ({"channels": [{"name": "c", "target": "https://x.example/"}]}, "channels[0].kind", "needs a kind"),
        ({"channels": [{"name": "c", "kind": "chat", "target": "discord"}]}, "channels", "c: "),
        ({"tunnels": [{"name": "Not a name"}]}, None, "tunnel"),
    ],
)  # fmt: skip
def test_mistakes_of_other_sections_are_named_too(
    api: Api, alice: Tenant, section: dict[str, Any], field: str | None, hint: str
) -> None:
    before = exported(api)
    answer = send(api, {"version": 1, **section})
    assert answer.status_code in (400, 409), answer.content
    assert hint in answer.json()["detail"]
    if field:
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert exported(api) == before


def test_a_document_that_is_out_of_date_is_not_applied(api: Api, alice: Tenant) -> None:
    tag = api.get("/config")["ETag"]
    headers = {"HTTP_IF_MATCH": tag}
    for status in (200, 412):
        body = json.dumps(doc({**SITE, "hostname": f"s{status}.example"}))
        put = api._client.generic("PUT", "/api/v1/config", body, content_type="application/json", **headers)
        assert put.status_code == status, put.content


def test_document_knows_every_setting_of_a_domain_and_server() -> None:
    """A new column needs its line in lumos_agent/document.py and domains/config_*.py; then it may be added here."""
    assert {f.name for f in Domain._meta.concrete_fields} - {"id", "account", "created_at"} == {
        "hostname", "traffic", "certificate", "rollout",
    }  # fmt: skip
    assert {f.name for f in ZoneRecord._meta.concrete_fields} - {"id", "account", "created_at", "zone"} == set(
        ConfigRecord.__struct_fields__
    )
    assert set(EDITABLE) == {"name", "region", "public_ipv4", "public_ipv6"}
    assert set(FIELDS) == set(ConfigForward.__struct_fields__)
    assert set(FLOOD_FIELDS) == set(ConfigFlood.__struct_fields__)
    assert {"kind", *AUDITED} == set(ConfigChannel.__struct_fields__)
