"""Lists of domains and accounts: API, pages, import, expiry, subscriptions and shared bans."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry
from lumos.net import Fetched, FetchError
from lumos_agent import protocol
from lumos_agent.schema import Snapshot
from servers.models import Server, SnapshotRecord
from servers.snapshots import compile_snapshot
from tests.conftest import Api
from tests.factories import Tenant
from waf import bans, guards, lists, subscriptions, tasks
from waf.list_import import import_list
from waf.models import ListEntry, ListSubscription

pytestmark = pytest.mark.django_db


def served(tenant: Tenant) -> dict[str, tuple[list[str], list[str]]]:
    """Return the lists that the tenant's shield gets."""
    compiled = compile_snapshot(tenant.server.pk)
    assert compiled is not None
    return Snapshot.decode(compiled.data).networks()


def touched(tenant: Tenant) -> Any:
    return (
        SnapshotRecord.objects.filter(server=tenant.server).order_by("-revision").values_list("touched", flat=True)[0]
    )


def test_list_of_all_domains_reaches_the_shield(api: Api, alice: Tenant) -> None:
    body = {
        "domain": None,
        "kind": "deny",
        "network": "198.51.100.0/24",
        "note": "n",
        "expires_at": "2999-01-01T00:00:00Z",
    }
    made = api.post("/ip-lists", body)
    assert made.status_code == 201, made.content
    shown = made.json()
    assert (shown["domain"], shown["source"], shown["added_by"]) == (None, "hand", "alice@example.com")
    assert [e["id"] for e in api.get("/ip-lists?account_wide=true").json()["results"]] == [shown["id"]]
    assert [e["id"] for e in api.get("/ip-lists?search=198.51").json()["results"]] == [shown["id"]]
    assert api.post("/ip-lists", body).status_code == 409
    assert api.post("/ip-lists", {"kind": "deny", "network": "192.0.2.1"}).status_code == 400
    with alice.scope:
        assert served(alice)["*"] == ([], ["198.51.100.0/24"])
        assert touched(alice)[0].startswith("*/")
    assert api.delete(f"/ip-lists/{shown['id']}").status_code == 204
    with alice.scope:
        assert "*" not in served(alice)


def test_lists_of_another_account_are_not_served(alice: Tenant, mallory: Tenant) -> None:
    with mallory.scope:
        lists.add_list_entry(domain=None, kind="deny", network="128.0.0.0/1", actor=mallory.owner)
    with alice.scope:
        assert "*" not in served(alice)


def test_own_address_is_not_denied_by_mistake(api: Api, alice: Tenant) -> None:
    body = {"domain": None, "kind": "deny", "network": "127.0.0.0/8"}
    refused = api.post("/ip-lists", body)
    assert refused.status_code == 400
    assert "127.0.0.1" in refused.content.decode()
    assert api.post("/ip-lists/import", body | {"text": "127.0.0.1"}).status_code == 400
    assert api.post("/ip-lists", body | {"confirm_self_lockout": True}).status_code == 201
    allow = {"domain": str(alice.domain.pk), "kind": "allow", "network": "127.0.0.1"}
    assert api.post("/ip-lists", allow).status_code == 201
    assert api.post("/ip-lists", body | {"domain": str(alice.domain.pk)}).status_code == 201


def test_page_asks_before_it_locks_its_reader_out(alice: Tenant, signed_in: Any) -> None:
    client: Client = signed_in(alice.owner)
    body = {"kind": "deny", "network": "127.0.0.1"}
    answer = client.post("/lists/entries", body)
    assert answer.status_code == 200
    assert b"Yes, deny my own address too" in answer.content
    assert client.post("/lists/entries", body | {"confirm_self_lockout": "on"}).status_code == 302
    assert b"127.0.0.1/32" in client.get("/lists?search=127.").content
    assert b"127.0.0.1/32" not in client.get("/lists?kind=allow").content


def test_import_counts_refuses_and_replaces(api: Api, alice: Tenant) -> None:
    body: dict[str, Any] = {
        "domain": str(alice.domain.pk),
        "kind": "deny",
        "text": "192.0.2.1\n203.0.113.7 # there\nx\n",
    }
    dry = api.post("/ip-lists/import", body | {"dry_run": True})
    assert dry.json() == {
        "added": 1, "removed": 0, "kept": 1,
        "errors": [{"line": 3, "text": "x", "message": dry.json()["errors"][0]["message"]}],
    }  # fmt: skip
    refused = api.post("/ip-lists/import", body)
    assert refused.status_code == 400
    assert "Line 3" in refused.content.decode()
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision
    body["text"] = "192.0.2.1-192.0.2.2"
    done = api.post("/ip-lists/import", body | {"mode": "replace", "note": "feed"})
    assert (done.json()["added"], done.json()["removed"], done.status_code) == (2, 1, 200)
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 1
        assert served(alice)[str(alice.domain.pk)] == ([], ["192.0.2.1/32", "192.0.2.2/32"])
        assert set(ListEntry.objects.values_list("source", "note")) == {("import", "feed")}
        assert AuditEntry.objects.latest("created_at").action == "list.imported"
    again = api.post("/ip-lists/import", body | {"mode": "replace"})
    assert again.json()["kept"] == 2
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 1


def test_import_page(alice: Tenant, signed_in: Any) -> None:
    client: Client = signed_in(alice.owner)
    path = f"/domains/{alice.domain.pk}/lists/import"
    body = {"kind": "deny", "mode": "add", "text": "192.0.2.0/24\nx"}
    assert b"Would add 1" in client.post(path, body | {"dry_run": "on"}).content
    assert b"Line 2" in client.post(path, body).content
    assert client.post(path, body | {"text": "192.0.2.0/24"}).status_code == 302
    page = client.get(f"/domains/{alice.domain.pk}/lists").content
    assert b"192.0.2.0/24" in page
    assert b"1 entries added" in page


def test_limit_holds_for_the_account(alice: Tenant, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waf.lists.NETWORKS_MAX", 3)
    body = {"domain": None, "kind": "deny", "text": "192.0.2.1\n192.0.2.2\n192.0.2.4"}
    assert api.post("/ip-lists/import", body).status_code == 409
    assert api.post("/ip-lists/import", body | {"text": "192.0.2.1\n192.0.2.2"}).status_code == 200
    assert api.post("/ip-lists", {"domain": None, "kind": "deny", "network": "192.0.2.9"}).status_code == 409


def test_entries_whose_time_is_over_leave_the_shield(alice: Tenant) -> None:
    with alice.scope:
        soon = timezone.now() + timedelta(hours=1)
        for domain in (None, alice.domain):
            lists.add_list_entry(domain=domain, kind="deny", network="192.0.2.1", expires_at=soon, actor=alice.owner)
        revision = Server.objects.get().revision
    tasks.expire_list_entries()
    with alice.scope:
        assert Server.objects.get().revision == revision
        ListEntry.objects.exclude(expires_at=None).update(expires_at=timezone.now())
    tasks.expire_list_entries()
    tasks.expire_list_entries()
    with alice.scope:
        assert Server.objects.get().revision == revision + 1
        assert served(alice) == {str(alice.domain.pk): ([], ["203.0.113.7/32"])}
        assert len(touched(alice)) == 2
        entry = AuditEntry.objects.latest("created_at")
        assert (entry.action, entry.actor) == ("list.expired", None)


def test_over_already_is_refused(api: Api) -> None:
    body = {"domain": None, "kind": "deny", "network": "192.0.2.1", "expires_at": "2001-01-01T00:00:00Z"}
    assert api.post("/ip-lists", body).status_code == 400


class Publisher:
    """Stands in for the network: what each URL answers, and how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.body, self.etag, self.asked = b"192.0.2.1\n", "", 0
        monkeypatch.setattr("waf.subscriptions.fetch", self.fetch)

    def fetch(self, url: str, *, etag: str, reach: Any) -> Fetched:
        self.asked += 1
        if self.body == b"":
            raise FetchError("gone")
        return Fetched(body=None if etag and etag == self.etag else self.body, etag=self.etag)


def due(pk: Any) -> ListSubscription:
    """Let the beat job run as if the interval were over; returns the row after it."""
    ListSubscription.objects.filter(pk=pk).update(next_fetch_at=timezone.now())
    tasks.fetch_due_subscriptions()
    found: ListSubscription = ListSubscription.objects.get(pk=pk)
    return found


def test_subscription_follows_its_url(api: Api, alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(monkeypatch)
    made = api.post(
        "/list-subscriptions", {"domain": None, "kind": "deny", "url": "https://lists.example/d", "interval_hours": 2}
    )
    assert made.status_code == 201, made.content
    pk = made.json()["id"]
    with alice.scope:
        row = due(pk)
        assert (row.entries_count, row.error) == (1, "")
        assert row.next_fetch_at > timezone.now() + timedelta(hours=1)
        assert served(alice)["*"] == ([], ["192.0.2.1/32"])
        revision = Server.objects.get().revision
        tasks.fetch_due_subscriptions()
        assert publisher.asked == 1
        due(pk)
        assert Server.objects.get().revision == revision
        publisher.body, publisher.etag = b"192.0.2.2\n192.0.2.3\ncountry:DE\n", "e"
        due(pk)
        assert served(alice)["*"] == ([], ["192.0.2.2/32", "192.0.2.3/32"])
        revision = Server.objects.get().revision
        for body in (b"<html>\n<body>not found", b"# empty", b""):
            publisher.body, publisher.etag = body, ""
            row = due(pk)
            assert row.error
            assert row.next_fetch_at < timezone.now() + timedelta(hours=1, minutes=1)
        assert Server.objects.get().revision == revision
        entry = ListEntry.objects.filter(subscription=pk)[0]
    assert api.delete(f"/ip-lists/{entry.pk}").status_code == 409
    assert "gone" in api.get(f"/list-subscriptions/{pk}").json()["error"]
    assert api.delete(f"/list-subscriptions/{pk}").status_code == 204
    with alice.scope:
        assert "*" not in served(alice)


def test_subscription_and_hand_do_not_take_each_others_entries(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(monkeypatch)
    publisher.body = b"203.0.113.7\n192.0.2.1\n"
    with alice.scope:
        row = subscriptions.add_subscription(
            domain=alice.domain, kind="deny", url="https://l.example/", actor=alice.owner
        )
        due(row.pk)
        assert served(alice)[str(alice.domain.pk)] == ([], ["192.0.2.1/32", "203.0.113.7/32"])
        lists.remove_list_entry(entry=alice.entry, actor=alice.owner)
        assert served(alice)[str(alice.domain.pk)] == ([], ["192.0.2.1/32", "203.0.113.7/32"])
        lists.replace_lists(domain=alice.domain, allow=[], deny=[], actor=alice.owner)
        assert ListEntry.objects.filter(subscription=row).count() == 2
        lists.end_subscription(subscription=row, actor=alice.owner)
        assert served(alice) == {}


@pytest.mark.parametrize(
    "url", ["http://u:p@lists.example/", "ftp://lists.example/", "https://lists.example:8443/", "x"]
)
def test_url_that_cannot_be_followed_is_refused(api: Api, url: str) -> None:
    assert api.post("/list-subscriptions", {"domain": None, "kind": "deny", "url": url}).status_code == 400


def test_url_of_our_own_network_is_never_fetched(alice: Tenant) -> None:
    with alice.scope:
        row = subscriptions.add_subscription(domain=None, kind="deny", url="http://127.0.0.1/", actor=alice.owner)
        assert "no address of the public Internet" in due(row.pk).error


def bans_now() -> Any:
    return ListEntry.objects.filter(source="ban")


def limited(tenant: Tenant, client: str, rule: str = "rate:login", domain_id: object = None) -> None:
    """Tell of a request over the limit, as a shield's batch would."""
    event = protocol.Event(
        request_id="r", time=1.0, domain_id=str(domain_id or tenant.domain.pk), client=client, method="POST", host="h",
        path="/", rules=(rule,), action="limit",
    )  # fmt: skip
    bans.ban_offenders([event, event], server_id=tenant.server.pk)


@pytest.fixture
def banning(alice: Tenant) -> Iterator[None]:
    """A domain of which a rule bans, another one does not; inside alice's scope."""
    rates = [{"id": "login", "requests": 5, "action": "ban"}, {"id": "search", "requests": 5}]
    with alice.scope:
        guards.put_guard(domain=alice.domain, wanted=guards.canonical_guard({"rates": rates}), actor=alice.owner)
        yield


@pytest.mark.usefixtures("banning")
def test_client_over_a_banning_limit_is_denied_by_all_shields_for_an_hour(alice: Tenant) -> None:
    revision = Server.objects.get().revision
    limited(alice, "198.51.100.7")
    limited(alice, "2001:db8:7::1")
    assert Server.objects.get().revision == revision + 2
    assert {(row.domain, row.note, row.network) for row in bans_now()} == {
        (None, "alice-shield: rate:login", network) for network in ("198.51.100.7/32", "2001:db8:7::/64")
    }
    assert bans_now().filter(expires_at__gt=timezone.now() + timedelta(minutes=55)).count() == 2
    assert served(alice)["*"] == ([], ["198.51.100.7/32", "2001:db8:7::/64"])


@pytest.mark.usefixtures("banning")
def test_second_ban_of_a_client_only_lengthens_it(alice: Tenant) -> None:
    limited(alice, "198.51.100.7")
    revision = Server.objects.get().revision
    bans_now().update(expires_at=timezone.now())
    limited(alice, "198.51.100.7")
    assert bans_now().get().expires_at > timezone.now() + timedelta(minutes=55)
    assert Server.objects.get().revision == revision


@pytest.mark.usefixtures("banning")
@pytest.mark.parametrize(
    "client", ["198.51.100.1", "2001:db8:1::5", "127.0.0.1", "192.0.2.9", "2001:db8:2::7", "x", ""]
)
def test_ban_that_would_hurt_is_refused(alice: Tenant, client: str) -> None:
    Server.objects.update(public_ipv4="198.51.100.1", public_ipv6="2001:db8:1::5")
    for network in ("192.0.2.9", "2001:db8:2::1"):
        lists.add_list_entry(domain=alice.domain, kind="allow", network=network, actor=alice.owner)
    limited(alice, client)
    assert not bans_now().exists()


@pytest.mark.usefixtures("banning")
def test_only_a_rule_that_bans_bans_and_only_in_its_own_account(alice: Tenant, mallory: Tenant) -> None:
    limited(alice, "198.51.100.7", "rate:search")
    limited(alice, "198.51.100.7", domain_id=mallory.domain.pk)
    assert not bans_now().exists()


@pytest.mark.usefixtures("banning")
def test_bans_are_bounded_per_minute(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waf.bans.PER_MINUTE", 3)
    for number in range(5):
        limited(alice, f"198.51.100.{number}")
    assert bans_now().count() == 3
    bans_now().update(created_at=timezone.now() - timedelta(minutes=2))
    limited(alice, "198.51.100.9")
    assert bans_now().count() == 4


def test_export_has_what_lasts_and_an_import_leaves_the_rest(api: Api, alice: Tenant) -> None:
    with alice.scope:
        ends = timezone.now() + timedelta(hours=1)
        lists.add_list_entry(domain=alice.domain, kind="deny", network="192.0.2.1", expires_at=ends, actor=alice.owner)
        lists.add_list_entry(domain=alice.domain, kind="deny", network="country:KP", actor=alice.owner)
    document = api.get("/config").json()
    networks = [entry["network"] for entry in document["domains"][0]["lists"]["deny"]]
    assert networks == ["203.0.113.7/32", "country:KP"]
    document["domains"][0]["lists"] = {"allow": [], "deny": []}
    assert api.call("PUT", "/config", document).status_code == 200
    with alice.scope:
        assert served(alice)[str(alice.domain.pk)] == ([], ["192.0.2.1/32"])


def test_as_many_entries_as_an_account_may_have_are_imported_at_once(alice: Tenant) -> None:
    text = "\n".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(99_000))
    with alice.scope, transaction.atomic():
        done = import_list(domain=None, kind="deny", text=text, mode="add", actor=alice.owner)
    assert done.added == 99_000
