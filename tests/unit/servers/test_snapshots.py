"""Servers compiled together get, byte for byte, what each gets alone, in as many queries as one."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from domains import zones
from domains.cdn_models import CdnList
from domains.models import CertificateAuthority, CertificateSource, Domain, Rollout, RolloutState, UploadedCertificate
from domains.services import OriginData, add_domain, change_domain
from lumos_agent.schema import Snapshot
from servers import forwards, snapshots
from servers.floods import put_flood
from servers.models import Server
from servers.services import add_server
from servers.snapshots import compile_snapshot, compile_snapshots
from servers.tunnels import add_tunnel
from tests.factories import Tenant
from waf.lists import add_list_entry

pytestmark = pytest.mark.django_db

HOSTNAMES = ("b-a.example", "ba.example", "*.ba.example", "bä.example".encode("idna").decode(), "z.example")
CHAIN = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"


def add_servers(tenant: Tenant, count: int) -> list[Server]:
    made = [
        add_server(name=f"s{number}", public_ipv4=f"192.0.2.{number + 1}", actor=tenant.owner)[0]
        for number in range(count)
    ]
    return [tenant.server, *made]


def add(tenant: Tenant, hostname: str, *servers: Server) -> Domain:
    origins = [OriginData(address="10.0.0.1", port=80), OriginData(address="10.0.0.2", port=80)]
    made: Domain = add_domain(hostname=hostname, origins=origins, servers=list(servers), actor=tenant.owner)
    return made


def stage(domain: Domain, first: Server, state: RolloutState, before: dict[str, Any]) -> None:
    part = {"id": str(domain.pk), "hostname": domain.hostname, "origins": [], **before}
    Rollout(domain=domain, first=first, revision=1, before=part, state=state).save()


@pytest.fixture
def fleet(alice: Tenant) -> list[Server]:
    """Seven servers: two alike, the others each with something of its own."""
    with alice.scope:
        one, two, three, four, five, six, seven = fleet = add_servers(alice, 6)
        shared = [add(alice, hostname, one, two, three, four, five) for hostname in HOSTNAMES]
        own = add(alice, "own.example", six)
        change_domain(domain_id=own.pk, actor=alice.owner, certificate=CertificateSource.UPLOADED)
        UploadedCertificate(domain=own, server=six, chain=CHAIN, sealed_key="c2VhbGVk").save()
        change_domain(domain_id=shared[0].pk, actor=alice.owner, traffic={"trusted_cdns": ["fastly"]})
        for name in ("fastly", "cloudflare"):
            made = {"as_of": "2026-11-01", "networks": ["198.51.100.0/24"]}
            CdnList.objects.update_or_create(name=name, defaults=made)
        stage(shared[1], two, RolloutState.OBSERVING, {"hostname": "0.example"})
        stage(own, six, RolloutState.STOPPED, {"traffic": {"trusted_cdns": ["cloudflare"]}})
        for domain in (*shared, own, None):
            add_list_entry(domain=domain, kind="deny", network="198.51.100.7", actor=alice.owner)
        for name, servers in (("ba.example", [two, three]), ("other.example", [three, four])):
            zones.add_zone(name=name, servers=servers, actor=alice.owner)
        forwards.add_forward(
            server=four, protocol="tcp", port=2222, target="203.0.113.7", target_port=22, actor=alice.owner
        )
        put_flood(server=five, actor=alice.owner, connections=200)
        add_tunnel(name="office", actor=alice.owner)
        keys = {str(seven.pk): "c2VhbGVk"}
        CertificateAuthority(directory_url="https://ca.example/d", external_key_id="k", external_keys=keys).save()
    return fleet


@pytest.mark.parametrize("at_once", [20_000, 6, 1])
def test_together_is_as_alone(
    alice: Tenant, fleet: list[Server], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("servers.snapshots.ASSIGNMENTS_AT_ONCE", at_once)
    with alice.scope:
        together = compile_snapshots([server.pk for server in fleet])
        alone = {server.pk: compile_snapshot(server.pk) for server in fleet}
        assert together == alone
    found = [Snapshot.decode(together[server.pk].data) for server in fleet]
    for name, servers in {"zones": 3, "failover": 0, "forwards": 1, "uploads": 1, "tunnels": 7}.items():
        assert sum(bool(getattr(snapshot, name)) for snapshot in found) == servers, name
    assert sum(snapshot.flood.is_on() for snapshot in found) == 1
    assert len({str(snapshot.domains) for snapshot in found}) == 5
    assert len({str(snapshot.cdns) for snapshot in found}) == 3


def test_like_servers_cost_no_query(alice: Tenant) -> None:
    with alice.scope:
        servers = add_servers(alice, 9)
        add(alice, "shared.example", *servers)
        counts = []
        for number in (2, 10):
            with CaptureQueriesContext(connection) as queries:
                assert len(compile_snapshots([server.pk for server in servers[:number]])) == number
            counts.append(len(queries))
    assert counts[0] == counts[1] < 30


def test_another_accounts_servers_are_not_compiled(alice: Tenant, mallory: Tenant) -> None:
    with alice.scope:
        assert set(compile_snapshots([alice.server.pk, mallory.server.pk])) == {alice.server.pk}
        assert compile_snapshot(mallory.server.pk) is None
        assert snapshots.compile_snapshots([]) == {}
