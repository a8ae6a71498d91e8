"""Signed zones in the control plane: keys of shields, DS at the parent, and who is named to whom."""

import base64
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.utils import timezone

from accounts.models import AuditEntry
from domains import dnssec, zones
from domains.delegation import Signers
from domains.dnssec_status import digests_of, problems_at_parent, signers_of
from domains.tasks import check_signed_zone
from domains.zone_models import Zone, ZoneServer
from domains.zone_parts import zone_parts
from lumos.errors import Conflict, InvalidInput
from lumos_agent import protocol
from servers import sessions
from servers.models import Server
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
TTL = 3600


def new_key() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return base64.b64encode(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]).decode()


@pytest.fixture
def shields(alice: Tenant) -> Iterator[list[Server]]:
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4="192.0.2.10")
        others = [Server.objects.create(name=f"s{n}", public_ipv4=f"192.0.2.{n}", token_hash=f"{n}") for n in (11, 12)]
        yield [Server.objects.get(pk=alice.server.pk), *others]


@pytest.fixture
def zone(alice: Tenant, shields: list[Server]) -> Zone:
    made = zones.add_zone(name="alice.example", servers=shields[:2], actor=alice.owner)
    return dnssec.switch_on(zone_id=made.pk, actor=alice.owner)


def tell(zone: Zone, server: Server, key: str) -> None:
    report = protocol.ZoneKeys(keys=(protocol.ZoneKey(zone_id=str(zone.pk), public_key=key),))
    sessions.answers(server.account_id, server.pk, report)


def applied(*servers: Server) -> None:
    for server in Server.objects.filter(pk__in=[s.pk for s in servers]):
        Server.objects.filter(pk=server.pk).update(applied_revision=server.revision)


def parent_has(zone: Zone, *servers: Server) -> None:
    rows = zone.nameservers.select_related("zone").filter(server__in=servers)
    found = Signers(digests=frozenset(digests_of(row)[0] for row in rows), ttl_seconds=TTL)
    dnssec.record_parent(zone_id=zone.pk, found=found)


def later(zone: Zone, **passed: float) -> None:
    """Let time pass for a zone."""
    span = timedelta(**passed)
    fresh = Zone.objects.get(pk=zone.pk)
    Zone.objects.filter(pk=zone.pk).update(ds_until=fresh.ds_until and fresh.ds_until - span)
    for row in ZoneServer.objects.exclude(ds_trusted_at=None):
        ZoneServer.objects.filter(pk=row.pk).update(ds_trusted_at=row.ds_trusted_at - span)


def states(zone: Zone) -> list[tuple[str, bool, bool]]:
    return [(s.state, bool(s.ds), s.row.is_listed) for s in signers_of(Zone.objects.get(pk=zone.pk))]


def test_ds_is_shown_when_every_shield_publishes_the_keys_of_all(zone: Zone, shields: list[Server]) -> None:
    one, two, _ = shields
    serial = zone.serial
    tell(zone, one, new_key())
    assert states(zone) == [("publishing", False, True), ("waiting", False, True)]
    tell(zone, two, new_key())
    applied(one)
    assert states(zone) == [("publishing", False, True)] * 2
    applied(two)
    assert states(zone) == [("enter", True, True)] * 2
    (part,) = zone_parts([one])[one.pk]
    assert part.signed
    assert len({server.key for server in part.nameservers}) == 2
    assert part.serial == serial + 2
    revision = Server.objects.get(pk=one.pk).revision
    tell(zone, one, part.nameservers[0].key)
    assert Server.objects.get(pk=one.pk).revision == revision


def test_keys_of_other_zones_and_no_keys_are_not_taken(zone: Zone, shields: list[Server], mallory: Tenant) -> None:
    tell(zone, shields[2], new_key())
    tell(zone, shields[0], base64.b64encode(b"\x01" * 64).decode())
    tell(zone, mallory.server, new_key())
    assert states(zone) == [("waiting", False, True)] * 2


def test_new_shield_is_named_when_all_resolvers_know_its_ds(zone: Zone, shields: list[Server], alice: Tenant) -> None:
    one, two, three = shields
    for server in (one, two):
        tell(zone, server, new_key())
    parent_has(zone, one, two)
    assert states(zone) == [("trusted", True, True)] * 2
    zones.change_zone(zone_id=zone.pk, servers=shields, actor=alice.owner)
    tell(zone, three, new_key())
    applied(*shields)
    assert states(zone)[2] == ("enter", True, False)
    assert [s.listed for s in zone_parts([three])[three.pk][0].nameservers] == [True, True, False]
    parent_has(zone, *shields)
    assert states(zone)[2] == ("trusted_soon", True, False)
    later(zone, seconds=TTL + 1)
    Zone.objects.filter(pk=zone.pk).update(ds_asked_at=timezone.now())
    assert dnssec.due(timezone.now()) == []
    assert dnssec.due(timezone.now() + timedelta(minutes=2)) == [(zone.account_id, zone.pk)]
    parent_has(zone, *shields)
    assert states(zone)[2] == ("trusted", True, True)
    tell(zone, three, new_key())
    assert states(zone)[2][2] is False
    with pytest.raises(InvalidInput, match="no DS of any"):
        zones.change_zone(zone_id=zone.pk, servers=[three], actor=alice.owner)


def test_shield_whose_ds_is_missing_while_others_have_theirs_is_named_to_nobody(
    zone: Zone, shields: list[Server]
) -> None:
    one, two, _ = shields
    for server in (one, two):
        tell(zone, server, new_key())
    applied(one, two)
    parent_has(zone, one)
    assert states(zone) == [("trusted", True, True), ("enter", True, False)]
    unknown = Signers(digests=frozenset({"1 13 2 " + "ab" * 32}), ttl_seconds=TTL)
    dnssec.record_parent(zone_id=zone.pk, found=unknown)
    assert [listed for _, _, listed in states(zone)] == [True, False]
    assert problems_at_parent(Zone.objects.get(pk=zone.pk), unknown) == [
        "The DS of ns1.alice.example is not entered at the registrar.",
        "The DS of ns2.alice.example is not entered at the registrar.",
        f"The DS 1 13 2 {'ab' * 32} is of no shield of this zone; remove it at the registrar.",
    ]


def test_signing_ends_after_resolvers_have_forgotten_the_ds(zone: Zone, shields: list[Server], alice: Tenant) -> None:
    with pytest.raises(Conflict, match="could not be asked"):
        dnssec.switch_off(zone_id=zone.pk, actor=alice.owner)
    for server in shields[:2]:
        tell(zone, server, new_key())
    for still_there in (shields[:2], []):
        parent_has(zone, *still_there)
        with pytest.raises(Conflict, match="Remove every DS"):
            dnssec.switch_off(zone_id=zone.pk, actor=alice.owner)
    later(zone, seconds=TTL + 1)
    parent_has(zone)
    after = dnssec.switch_off(zone_id=zone.pk, actor=alice.owner)
    assert not after.dnssec
    assert not zone_parts([shields[0]])[shields[0].pk][0].signed
    assert AuditEntry.objects.filter(changes={"dnssec": [True, False]}).count() == 1
    assert problems_at_parent(after, Signers(digests=frozenset({"1 13 2 ab"})))[0].startswith(
        "The parent zone has a DS"
    )


def test_signing_ends_at_once_when_that_is_wanted(zone: Zone, shields: list[Server], alice: Tenant) -> None:
    tell(zone, shields[0], new_key())
    parent_has(zone, shields[0])
    assert not dnssec.switch_off(zone_id=zone.pk, actor=alice.owner, anyway=True).dnssec
    assert [row.is_listed for row in zone.nameservers.all()] == [True, True]


def test_parents_are_asked_by_turns_even_if_they_never_answer(
    zone: Zone, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(dnssec, "signers_at_parent", lambda name, network: asked.append(name))
    now, task = timezone.now(), (str(zone.account_id), str(zone.pk))
    assert dnssec.due(now) == [(zone.account_id, zone.pk)]
    for _ in range(2):
        check_signed_zone(*task)
    assert asked == [zone.name]
    assert dnssec.due(now + dnssec.CHECK_EVERY / 2) == []
    assert dnssec.due(now + dnssec.CHECK_EVERY * 2) == [(zone.account_id, zone.pk)]
