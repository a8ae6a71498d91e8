"""Failover through API and pages, as people use it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from domains import failover
from domains.failover_models import DnsProvider, Failover
from domains.services import change_domain
from servers.models import Server, ServerVerdict, Sight
from servers.services import add_server
from servers.snapshots import snapshot_of
from tests.cloudflare import TOKEN, cloudflare
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
FIRST, SECOND = "198.51.100.1", "198.51.100.2"


@pytest.fixture(autouse=True)
def second(alice: Tenant) -> Server:
    """Give Alice's domain a second server that serves as well."""
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4=FIRST)
        server, _ = add_server(name="second", actor=alice.owner, public_ipv4=SECOND)
        change_domain(domain_id=alice.domain.pk, servers=[alice.server, server], actor=alice.owner)
        hour_ago = timezone.now() - timedelta(hours=1)
        for one in (alice.server, server):
            ServerVerdict.objects.create(
                server=one, state="up", since=hour_ago, serves_since=hour_ago, reasons=["It answers."]
            )
        Sight.objects.create(server=alice.server, vantage=None, address=FIRST, is_ok=True, since=hour_ago, seconds=0.02)
    return server


def path(alice: Tenant, rest: str = "") -> str:
    return f"/domains/{alice.domain.pk}/failover{rest}"


def provider(api: Api, **values: Any) -> Any:
    given = {"name": "cloud", "kind": "cloudflare", "zone": "alice.example", "credential": TOKEN}
    return api.post("/dns-providers", given | values)


def test_the_whole_story(api: Api, alice: Tenant, second: Server) -> None:
    assert api.get(path(alice)).status_code == 404
    row = api.call("PUT", path(alice), {"mode": "ordered", "hold_down_seconds": 30}).json()
    assert (row["addresses"], row["answered"], row["publication"]) == ([FIRST], [str(alice.server.pk)], "none")
    switched = api.post(path(alice, "/actions"), {"action": "switch", "server": str(second.pk)}).json()
    assert (switched["addresses"], switched["preferred"]) == ([SECOND], str(second.pk))
    held = api.post(path(alice, "/actions"), {"action": "hold"}).json()
    assert held["is_held"]
    decisions = api.get(path(alice, "/decisions")).json()["results"]
    assert [entry["cause"] for entry in decisions] == ["person", "first"]
    assert decisions[0]["actor"] == "alice@example.com"
    assert decisions[0]["evidence"][str(second.pk)]["state"] == "up"
    assert api.get(path(alice, "/plan")).json() == {"add": [], "remove": [], "keep": [], "refused": ""}
    assert api.delete(path(alice)).status_code == 204
    assert api.get(path(alice)).status_code == 404


@pytest.mark.integration
def test_records_at_a_provider_follow(
    api: Api, alice: Tenant, second: Server, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with cloudflare("alice.example") as cloud:
        settings.CLOUDFLARE_API_URL = cloud.url
        made = provider(api).json()
        assert TOKEN not in str(made)
        cloud.put("A", "alice.example", "203.0.113.1")
        with django_capture_on_commit_callbacks(execute=True):
            api.call("PUT", path(alice), {"provider": made["id"]})
        row = api.get(path(alice)).json()
        assert row["publication"] == "failed"
        assert "Lumos did not enter" in row["publish_error"]
        assert "203.0.113.1" in api.get(path(alice, "/plan")).json()["refused"]
        row = api.post(path(alice, "/actions"), {"action": "adopt"}).json()
        assert (row["publication"], row["publish_error"]) == ("done", "")
        with django_capture_on_commit_callbacks(execute=True):
            api.post(path(alice, "/actions"), {"action": "switch", "server": str(second.pk)})
        assert ("A", "alice.example", SECOND) in cloud.shown()
        assert ("A", "alice.example", FIRST) not in cloud.shown()
        keep = api.get(path(alice, "/plan")).json()["keep"]
        assert keep == [{"name": "alice.example", "kind": "A", "content": SECOND}]
        assert api.delete(f"/dns-providers/{made['id']}").status_code == 409


@pytest.mark.integration
def test_a_provider_that_fails_is_asked_again(
    api: Api, alice: Tenant, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with cloudflare("alice.example") as cloud:
        settings.CLOUDFLARE_API_URL = cloud.url
        cloud.fails_with = 500
        with django_capture_on_commit_callbacks(execute=True):
            api.call("PUT", path(alice), {"provider": provider(api).json()["id"]})
        row = Failover.unscoped.get()
        assert (row.publication, row.publish_tries) == ("due", 1)
        assert "status 500" in row.publish_error
        assert row.publish_at is not None
        assert row.publish_at > timezone.now()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"zone": "not a zone"}, "zone"),
        ({"kind": "rfc2136"}, "server"),
        ({"kind": "rfc2136", "server": "192.0.2.1", "key_name": "k", "credential": "not base64!"}, "credential"),
        ({"kind": "rfc2136", "server": "192.0.2.1", "key_name": "", "credential": "AAAA"}, "key_name"),
        ({"credential": "line\nbreak"}, "credential"),
        ({"port": 0}, "port"),
    ],
)
def test_what_a_provider_must_say(api: Api, values: Any, field: str) -> None:
    answer = provider(api, **values)
    assert answer.status_code == 400
    assert field in answer.content.decode()
    assert DnsProvider.unscoped.count() == 0


def test_a_provider_of_another_zone_is_refused(api: Api, alice: Tenant) -> None:
    made = provider(api, zone="other.example").json()
    answer = api.call("PUT", path(alice), {"provider": made["id"]})
    assert (answer.status_code, "not in the zone" in answer.json()["detail"]) == (400, True)


def test_a_weighted_set_answers_by_weight_in_own_zones_and_all_that_serve_elsewhere(
    api: Api, alice: Tenant, second: Server
) -> None:
    zone = api.post("/zones", {"name": "alice.example", "servers": [str(second.pk)]}).json()["id"]
    for name in ("@", "*"):
        api.post("/zone-records", {"zone": zone, "name": name, "type": "PROXIED", "data": "first"})

    def answered() -> dict[str, list[tuple[str, int, bool]]]:
        with alice.scope:
            (found,) = snapshot_of(second).zones
        return {part.owner: [(a.address, a.weight, a.down) for a in part.addresses] for part in found.proxied}

    row = api.call("PUT", path(alice), {"mode": "weighted", "weights": {str(second.pk): 50}}).json()
    assert row["addresses"] == [FIRST, SECOND]
    assert answered() == {"@": [(FIRST, 100, False), (SECOND, 50, False)], "*": []}
    with alice.scope:
        (rule,) = snapshot_of(second).failover
        assert rule.mode == "all"
        ServerVerdict.objects.filter(server=alice.server).update(state="down", serves_since=None)
        failover.look(alice.domain.pk)
    assert answered()["@"] == [(FIRST, 100, True), (SECOND, 50, False)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "weighted", "weights": {"11111111-0000-4000-8000-000000000000": 5}}, "carries alice.example"),
        ({"mode": "weighted", "weights": {"\0": 5}}, "carries alice.example"),
        ({"mode": "all", "weights": {"own": 5}}, "Only the mode"),
        ({"mode": "weighted", "weights": {"own": 0}}, "greater than or equal to 1"),
        ({"mode": "weighted", "weights": {"own": 256}}, "less than or equal to 255"),
        ({"mode": "weighted", "weights": [5]}, "dictionary"),
    ],
)
def test_weights_that_do_not_fit(api: Api, alice: Tenant, values: Any, words: str) -> None:
    if "own" in values["weights"]:
        values = values | {"weights": {str(alice.server.pk): values["weights"]["own"]}}
    answer = api.call("PUT", path(alice), values)
    assert (answer.status_code, words in answer.content.decode()) == (400, True), answer.content


def test_what_others_see_of_a_server(api: Api, alice: Tenant) -> None:
    body = api.get(f"/servers/{alice.server.pk}/probes").json()
    assert [(s["address"], s["vantage"], s["is_ok"]) for s in body["sights"]] == [(FIRST, None, True)]
    assert api.get(f"/servers/{alice.server.pk}").json()["verdict"]["state"] == "up"


def test_pages(alice: Tenant, second: Server, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    page, act = f"/domains/{alice.domain.pk}/failover", f"/domains/{alice.domain.pk}/failover/act"
    assert "Switch failover on" in client.get(page).content.decode()
    form = {"mode": "ordered", "hold_down_seconds": 60, "gap_seconds": 30, "ttl": 60}
    assert client.post(page, form).status_code == 302
    assert client.post(act, {"action": "drill", "server": alice.server.pk}).status_code == 302
    text = client.get(page).content.decode()
    assert "drill of alice-shield" in text
    assert SECOND in text
    weighted = form | {"mode": "weighted", f"weight-{second.pk}": 7}
    assert client.post(page, weighted).status_code == 302
    assert "weight 7<" in client.get(page).content.decode()
    assert Failover.unscoped.get().weights == {str(alice.server.pk): 100, str(second.pk): 7}
    assert "alice-shield → second" in text.replace("&gt;", ">")
    client.post(act, {"action": "end-drill"})
    client.post(act, {"action": "off"})
    assert Failover.unscoped.count() == 0
    given = {"name": "n", "kind": "cloudflare", "zone": "alice.example", "credential": TOKEN}
    assert client.post("/dns-providers", given).status_code == 302
    text = client.get("/dns-providers").content.decode()
    assert "alice.example" in text
    assert TOKEN not in text
    server_page = client.get(f"/servers/{alice.server.pk}").content.decode()
    assert "It answers." in server_page
    assert "Seen from outside" in server_page


def test_it_is_in_the_accounts_document(api: Api, alice: Tenant, second: Server) -> None:
    made = provider(api).json()
    weights = {str(second.pk): 25}
    body = {"provider": made["id"], "hold_down_seconds": 33, "mode": "weighted", "weights": weights}
    assert api.call("PUT", path(alice), body).json()["weights"] == weights
    document = api.get("/config").json()
    wanted = {"mode": "weighted", "hold_down_seconds": 33, "gap_seconds": 60, "provider": "cloud", "ttl": 60}
    wanted["weights"] = {"second": 25}
    assert document["domains"][0]["failover"] == wanted
    assert TOKEN not in str(document)
    api.delete(path(alice))
    assert api.get("/config").json()["domains"][0]["failover"] is None
    assert api.call("PUT", "/config", document).status_code == 200
    assert api.get("/config").json() == document
    document["domains"][0]["failover"]["provider"] = "nobody"
    answer = api.call("PUT", "/config", document)
    assert (answer.status_code, "add a DNS provider" in answer.json()["detail"]) == (409, True)
    document["domains"][0]["failover"] = None
    assert api.call("PUT", "/config", document).status_code == 200
    assert Failover.unscoped.count() == 0
