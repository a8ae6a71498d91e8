"""The pages of zones."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from domains import dnssec, zones
from domains.zone_models import Zone, ZoneRecord
from domains.zone_rules import RecordData
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

SignIn = Callable[[User], Client]


@pytest.fixture
def zone(alice: Tenant) -> Zone:
    with alice.scope:
        alice.server.public_ipv4 = "192.0.2.10"
        alice.server.save()
        return zones.add_zone(name="alice.example", servers=[alice.server], actor=alice.owner)


def records(tenant: Tenant) -> list[tuple[str, str, str]]:
    with tenant.scope:
        return list(ZoneRecord.objects.values_list("name", "type", "data"))


def test_zone_is_added_and_its_records_edited(alice: Tenant, signed_in: SignIn) -> None:
    client = signed_in(alice.owner)
    assert "No zones yet" in client.get("/zones").content.decode()
    values: dict[str, Any] = {"name": "alice.example", "servers": [alice.server.pk]}
    assert "Enter a public address" in client.post("/zones", values).content.decode()
    with alice.scope:
        alice.server.public_ipv4 = "192.0.2.10"
        alice.server.save()
    page = client.post("/zones", values, follow=True)
    assert "ns1.alice.example" in page.content.decode()
    place = page.redirect_chain[-1][0]
    client.post(f"{place}/records", {"name": "@", "type": "PROXIED", "ttl": 60, "answer": "first"})
    refused = client.post(f"{place}/records", {"name": "www", "type": "A", "data": "nonsense", "ttl": 60})
    assert "is no data of type A" in refused.content.decode()
    client.post(f"{place}/records", {"name": "www", "type": "A", "data": "192.0.2.1", "ttl": 60})
    assert records(alice) == [("@", "PROXIED", "first"), ("www", "A", "192.0.2.1")]
    shown = client.get(place).content.decode()
    assert "the first that works of alice-shield" in shown
    with alice.scope:
        pk = ZoneRecord.objects.get(type="A").pk
    assert 'value="192.0.2.1"' in client.get(f"/zones/records/{pk}").content.decode()
    client.post(f"/zones/records/{pk}", {"name": "www", "type": "A", "data": "192.0.2.2", "ttl": 60})
    assert ("www", "A", "192.0.2.2") in records(alice)
    client.post(f"/zones/records/{pk}/remove")
    assert records(alice) == [("@", "PROXIED", "first")]
    assert client.post(f"{place}/remove", follow=True).status_code == 200
    assert "No zones yet" in client.get("/zones").content.decode()


def test_zone_file_is_shown_first_and_imported_then(alice: Tenant, zone: Zone, signed_in: SignIn) -> None:
    client = signed_in(alice.owner)
    values = {"text": "www A 192.0.2.1\nsvc SVCB 1 .", "mode": "add"}
    tried = client.post(f"/zones/{zone.pk}/import", values | {"dry_run": "on"}).content.decode()
    assert "Would add 1" in tried
    assert "Records of type SVCB are not served" in tried
    assert records(alice) == []
    assert "Added 1" in client.post(f"/zones/{zone.pk}/import", values).content.decode()
    file = client.get(f"/zones/{zone.pk}/file")
    assert file["Content-Disposition"] == 'attachment; filename="alice.example.zone"'
    assert "www 300 IN A 192.0.2.1" in file.content.decode()


def test_delegation_is_shown(alice: Tenant, zone: Zone, signed_in: SignIn) -> None:
    shown = signed_in(alice.owner).post(f"/zones/{zone.pk}/check").content.decode()
    assert "Not right yet" in shown
    assert "This is no public address" in shown


def test_viewer_sees_and_changes_nothing(alice: Tenant, bob: User, zone: Zone, signed_in: SignIn) -> None:
    client = signed_in(bob)
    assert "Add a record" not in client.get(f"/zones/{zone.pk}").content.decode()
    assert client.post(f"/zones/{zone.pk}/remove").status_code == 403


def test_pages_take_the_same_number_of_queries_however_many_records(
    alice: Tenant, zone: Zone, signed_in: SignIn
) -> None:
    client, counts = signed_in(alice.owner), []
    for number in range(1, 8):
        with alice.scope:
            given = RecordData(name=f"p{number}", type="PROXIED", data="all")
            zones.add_record(zone_id=zone.pk, given=given, actor=alice.owner)
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/zones/{zone.pk}")
        counts.append(len(queries))
    assert len(set(counts[1:])) == 1


def test_signing_is_switched_and_says_what_to_do(
    alice: Tenant, zone: Zone, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dnssec, "signers_at_parent", lambda name, network: None)
    client, place = signed_in(alice.owner), f"/zones/{zone.pk}"
    signed = client.post(f"{place}/dnssec", {"signed": "on"}, follow=True).content.decode()
    assert "alice-shield has told no key yet" in signed
    refused = client.post(f"{place}/dnssec").content.decode()
    assert "could not be asked" in refused
    assert 'name="anyway"' in refused
    assert "Sign this zone" in client.post(f"{place}/dnssec", {"anyway": "on"}, follow=True).content.decode()
