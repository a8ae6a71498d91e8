"""Zones and records through the API, and what of them reaches the shields."""

from typing import Any

import msgspec
import pytest

from accounts.models import AuditEntry
from domains import dnssec
from lumos_agent.schema import Snapshot
from lumos_agent.zone import Address, Nameserver, Proxied
from servers.models import Server
from servers.snapshots import compile_snapshot
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def shields(api: Api, alice: Tenant) -> list[str]:
    """Two servers with addresses; the first carries alice.example."""
    api.patch(f"/servers/{alice.server.pk}", {"public_ipv4": "192.0.2.10", "public_ipv6": "2001:db8::10"})
    second = api.post("/servers", {"name": "second", "public_ipv4": "192.0.2.20"}).json()["server"]["id"]
    return [str(alice.server.pk), second]


@pytest.fixture
def zone(api: Api, shields: list[str]) -> str:
    """The zone alice.example on both."""
    answer = api.post("/zones", {"name": "Alice.Example.", "servers": shields})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def part(server_id: str, tenant: Tenant) -> Any:
    """Return the zone in the snapshot of a server."""
    with tenant.scope:
        compiled = compile_snapshot(server_id)
        assert compiled is not None
        (found,) = Snapshot.decode(compiled.data).zones
    return found


def add(api: Api, zone: str, name: str, kind: str, data: str, **more: Any) -> Any:
    return api.post("/zone-records", {"zone": zone, "name": name, "type": kind, "data": data, **more})


def test_zone_reaches_all_its_servers_with_one_serial(api: Api, alice: Tenant, shields: list[str], zone: str) -> None:
    assert add(api, zone, "www", "A", "192.0.2.1").status_code == 201
    first, second = (part(server, alice) for server in shields)
    assert first == second
    assert (first.name, first.serial) == ("alice.example", 2)
    assert first.nameservers == (
        Nameserver(server=shields[0], number=1, addresses=("192.0.2.10", "2001:db8::10")),
        Nameserver(server=shields[1], number=2, addresses=("192.0.2.20",)),
    )
    shown = api.get(f"/zones/{zone}").json()
    assert shown["nameservers"][1] == {
        "server": shields[1], "name": "ns2.alice.example", "public_ipv4": "192.0.2.20", "public_ipv6": None,
        "is_named": True,
    }  # fmt: skip
    with alice.scope:
        assert AuditEntry.objects.get(action="zone.record_added").changes["data"] == [None, "192.0.2.1"]
        assert Server.objects.get(pk=shields[1]).revision == 2


def test_proxied_name_has_the_addresses_of_the_shields_and_never_the_origins(
    api: Api, alice: Tenant, shields: list[str], zone: str
) -> None:
    assert add(api, zone, "@", "PROXIED", "all").status_code == 201
    ours = [Address(address=a, server=shields[0]) for a in ("192.0.2.10", "2001:db8::10")]
    assert part(shields[1], alice).proxied == (Proxied(owner="@", ttl=300, addresses=tuple(ours)),)
    before = part(shields[1], alice).serial
    api.patch(f"/domains/{alice.domain.pk}", {"servers": [shields[1], shields[0]]})
    after = part(shields[1], alice)
    assert [a.address for a in after.proxied[0].addresses] == ["192.0.2.20", "192.0.2.10", "2001:db8::10"]
    assert after.serial > before
    api.patch(f"/servers/{shields[1]}", {"public_ipv4": "192.0.2.21"})
    assert part(shields[0], alice).proxied[0].addresses[0].address == "192.0.2.21"
    assert part(shields[0], alice).nameservers[1].addresses == ("192.0.2.21",)
    with alice.scope:
        compiled = compile_snapshot(shields[0])
    assert compiled is not None
    assert b"127.0.0.1" not in msgspec.json.encode(Snapshot.decode(compiled.data).zones)
    api.delete(f"/domains/{alice.domain.pk}")
    assert part(shields[0], alice).proxied[0].addresses == ()


def test_one_shield_of_a_proxied_name_may_be_for_a_place(
    api: Api, alice: Tenant, shields: list[str], zone: str
) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"servers": shields})
    assert add(api, zone, "@", "PROXIED", "all").status_code == 201
    near = add(api, zone, "@", "PROXIED", "all", place="continent: eu", server=shields[1])
    assert near.json()["place"] == "continent:EU"
    addresses = part(shields[0], alice).proxied[0].addresses
    assert [(a.address, a.place) for a in addresses if a.place] == [("192.0.2.20", "continent:EU")]


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("CNAME", "WWW.Example.net", "www.example.net."),
        ("CNAME", "other", "other.alice.example."),
        ("MX", "10 mail", "10 mail.alice.example."),
        ("MX", "0 .", "0 ."),
        ("SRV", "10 5 5060 sip.example.net.", "10 5 5060 sip.example.net."),
        ("TXT", "v=spf1 -all", '"v=spf1 -all"'),
        ("TXT", 'say "hi" \\', '"say \\"hi\\" \\\\"'),
        ("TXT", '"a" "b;c"', '"a" "b;c"'),
        ("TXT", "x" * 300, '"' + "x" * 255 + '" "' + "x" * 45 + '"'),
        ("TXT", '"' + "x" * 256 + '"', '"' + "x" * 255 + '" "x"'),
        ("TXT", '1 . alpn="h2,h3"', '"1 . alpn=\\"h2,h3\\""'),
        ("TXT", '"\\\\# 4 03616263"', '"\\\\# 4 03616263"'),
        ("TXT", "grüße", '"gr\\195\\188\\195\\159e"'),
        ("CAA", "0 ISSUE letsencrypt.org; a=b", '0 issue "letsencrypt.org; a=b"'),
        ("CAA", '128 iodef "mailto:a@example.com"', '128 iodef "mailto:a@example.com"'),
        ("NS", "ns1.example.net", "ns1.example.net."),
        ("ALIAS", "shop.example.net", "shop.example.net."),
    ],
)
def test_data_is_stored_in_one_form(api: Api, alice: Tenant, zone: str, shields: list[str], kind: str, given: str, stored: str) -> None:  # fmt: skip
    answer = add(api, zone, "x", kind, given)
    assert answer.status_code == 201, answer.content
    assert answer.json()["data"] == stored
    part(shields[0], alice)


@pytest.mark.parametrize(
    ("name", "kind", "data", "field"),
    [
        ("x", "A", "192.0.2.256", "data"),
        ("x", "A", "127.1", "data"),
        ("x", "A", "2001:db8::1", "data"),
        ("x", "AAAA", "fe80::1%eth0", "data"),
        ("x", "A", "192.0.2.1\nevil A 192.0.2.2", "data"),
        ("x", "TXT", '"a" b c "\x7f"', "data"),
        ("x", "TXT", '"a', "data"),
        ("x", "TXT", "x" * 4001, "data"),
        ("x", "CNAME", "a b", "data"),
        ("x", "CNAME", "*.example.net", "data"),
        ("x", "CNAME", "-", "data"),
        ("x", "MX", "mail.example.net", "data"),
        ("x", "MX", "65536 mail.example.net.", "data"),
        ("x", "SRV", "1 2 mail.example.net.", "data"),
        ("x", "CAA", "0 issue", "data"),
        ("x", "CAA", "256 issue ca.example", "data"),
        ("x", "ALIAS", ".", "data"),
        ("x", "PROXIED", "some", "data"),
        ("x", "SVCB", "1 .", "type"),
        ("x", "HTTPS", "1 . alpn=h2 ipv4hint=192.0.2.1", "type"),
        ("x", "TYPE64", "\\# 1 00", "type"),
        ("x", "TYPE1", "\\# 4 c0000201", "type"),
        ("x", "A", "\\# 4 c0000201", "data"),
        ("x", "TXT", "\\# 4 03616263", "data"),
        ("x", "CAA", "\\# 8 0005697373756578", "data"),
        ("x", "CNAME", "1 . alpn=h2", "data"),
        ("a b", "A", "192.0.2.1", "name"),
        ("x.example.org.", "A", "192.0.2.1", "name"),
        ("a.*", "A", "192.0.2.1", "name"),
        ("-a", "A", "192.0.2.1", "name"),
        ("a" * 64, "A", "192.0.2.1", "name"),
        (".".join(["a" * 60] * 4), "A", "192.0.2.1", "name"),
        ("ns1", "A", "192.0.2.1", "name"),
        ("@", "CNAME", "www.example.net.", "type"),
    ],
)
def test_what_is_no_record_is_refused_with_a_reason(api: Api, zone: str, name: str, kind: str, data: str, field: str) -> None:  # fmt: skip
    answer = add(api, zone, name, kind, data)
    assert answer.status_code == 400, answer.content
    assert [error["field"] for error in answer.json()["errors"]] == [field], answer.content


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (("x", "A", "192.0.2.1"), ("x", "A", "192.0.2.1"), 409),
        (("x", "A", "192.0.2.1"), ("x", "CNAME", "y"), 400),
        (("x", "CNAME", "y"), ("x", "CNAME", "z"), 400),
        (("x", "CNAME", "y"), ("x", "TXT", "t"), 400),
        (("x", "A", "192.0.2.1"), ("x", "PROXIED", "all"), 400),
        (("x", "ALIAS", "example.net"), ("x", "AAAA", "2001:db8::1"), 400),
        (("x", "PROXIED", "all"), ("x", "PROXIED", "first"), 400),
        (("sub", "NS", "ns.example.net"), ("a.sub", "TXT", "t"), 400),
        (("a.sub", "TXT", "t"), ("sub", "NS", "ns.example.net"), 400),
        (("sub", "NS", "ns.sub"), ("ns.sub", "A", "192.0.2.1"), 201),
        (("x", "A", "192.0.2.1"), ("x", "TXT", "t"), 201),
        (("*", "A", "192.0.2.1"), ("x", "A", "192.0.2.1"), 201),
    ],
)
def test_records_that_contradict_each_other(api: Api, zone: str, first: Any, second: Any, status: int) -> None:
    assert add(api, zone, *first).status_code == 201
    answer = add(api, zone, *second)
    assert answer.status_code == status, answer.content
    left = len(api.get(f"/zone-records?zone={zone}").json()["results"])
    assert left == (2 if status == 201 else 1)


def test_places_and_weights(api: Api, zone: str) -> None:
    assert add(api, zone, "x", "A", "192.0.2.1", place="country:DE").status_code == 400
    default = add(api, zone, "x", "A", "192.0.2.1").json()["id"]
    assert add(api, zone, "x", "A", "192.0.2.2", place="country:DE").status_code == 201
    assert add(api, zone, "x", "A", "192.0.2.3", weight=5).status_code == 400
    assert api.delete(f"/zone-records/{default}").status_code == 400
    assert add(api, zone, "x", "A", "192.0.2.2", place="country:Germany").status_code == 400
    assert add(api, zone, "*.y", "A", "192.0.2.2", weight=5).status_code == 400
    assert add(api, zone, "w", "A", "192.0.2.2", weight=5).status_code == 201
    assert add(api, zone, "w", "A", "192.0.2.3").status_code == 400
    assert add(api, zone, "w", "TXT", "t", weight=5).status_code == 400


def test_ttl_of_a_set_is_that_of_the_last_change(api: Api, zone: str) -> None:
    first = add(api, zone, "x", "A", "192.0.2.1", ttl=60).json()["id"]
    add(api, zone, "x", "A", "192.0.2.2", ttl=30)
    assert api.get(f"/zone-records/{first}").json()["ttl"] == 30
    assert api.patch(f"/zone-records/{first}", {"ttl": 0}).status_code == 400


def test_zone_keeps_its_name_and_its_last_server(api: Api, alice: Tenant, shields: list[str], zone: str) -> None:
    assert api.patch(f"/zones/{zone}", {"name": "other.example"}).status_code == 400
    assert api.patch(f"/zones/{zone}", {"servers": []}).status_code == 400
    assert api.post("/zones", {"name": "alice.example", "servers": shields}).status_code == 409
    assert api.patch(f"/zones/{zone}", {"servers": [shields[1]]}).status_code == 200
    with alice.scope:
        compiled = compile_snapshot(shields[0])
        assert compiled is not None
        assert Snapshot.decode(compiled.data).zones == ()
    assert part(shields[1], alice).nameservers[0].number == 2
    assert api.delete(f"/servers/{shields[1]}").status_code == 409
    assert api.patch(f"/servers/{shields[1]}", {"public_ipv4": None}).status_code == 409
    assert api.patch(f"/zones/{zone}", {"servers": [shields[1], shields[0]]}).status_code == 200
    before = part(shields[1], alice).serial
    api.delete(f"/domains/{alice.domain.pk}")
    assert api.delete(f"/servers/{shields[0]}").status_code == 204
    assert part(shields[1], alice).serial > before
    assert api.delete(f"/zones/{zone}").status_code == 204


def test_server_needs_a_public_address(api: Api, alice: Tenant) -> None:
    answer = api.post("/zones", {"name": "alice.example", "servers": [str(alice.server.pk)]})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "servers"


def test_zone_is_signed_and_the_parent_asked_before_that_ends(
    api: Api, alice: Tenant, shields: list[str], zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dnssec, "signers_at_parent", lambda name, network: None)
    shown = api.post(f"/zones/{zone}/dnssec", {"signed": True}).json()
    assert (shown["dnssec"], [s["state"] for s in shown["signers"]]) == (True, ["waiting", "waiting"])
    assert all(part(server, alice).signed for server in shields)
    assert api.get(f"/zones/{zone}").json()["signers"] == shown["signers"]
    refused = api.post(f"/zones/{zone}/dnssec", {"signed": False})
    assert refused.status_code == 409
    assert "could not be asked" in refused.json()["detail"]
    exported = api.get("/config").json()
    assert exported["zones"][0]["dnssec"] is True
    assert api.post(f"/zones/{zone}/dnssec", {"signed": False, "anyway": True}).json()["signers"] == []
    assert api.call("PUT", "/config?dry_run=false", exported).status_code == 200
    assert api.get(f"/zones/{zone}").json()["dnssec"]
