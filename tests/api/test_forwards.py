"""Forwards through the API and the pages: what the service refuses, what reaches the snapshot, what is counted."""

import time
from typing import Any

import pytest

from accounts.models import AuditEntry
from lumos_agent import protocol
from lumos_agent.forward import FORWARDS_MAX
from lumos_agent.forward import Forward as ForwardPart
from servers import forwards, metrics
from servers.forward_models import Forward, ForwardHour
from servers.snapshots import snapshot_of
from tests.agent.builders import ident
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def body(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    given = {"server": str(tenant.server.pk), "name": "game", "protocol": "udp", "port": 27015}
    return given | {"target": "203.0.113.7", "target_port": 27015} | changes


def added(api: Api, tenant: Tenant, **changes: Any) -> dict[str, Any]:
    answer = api.post("/forwards", body(tenant, **changes))
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def test_forward_reaches_the_snapshot_and_leaves_it(api: Api, alice: Tenant) -> None:
    made = added(api, alice, protocol="tcp", port=2222, target="SSH.Example.com", target_port=22, proxy_protocol="v2")
    part = ForwardPart(
        id=made["id"], protocol="tcp", port=2222, target="ssh.example.com", target_port=22, proxy_protocol="v2"
    )
    with alice.scope:
        assert snapshot_of(alice.server).forwards == (part,)
        alice.server.refresh_from_db()
        revision = alice.server.revision
    assert api.patch(f"/forwards/{made['id']}", {"enabled": False}).status_code == 200
    assert api.patch(f"/forwards/{made['id']}", {"enabled": False}).status_code == 200
    with alice.scope:
        assert snapshot_of(alice.server).forwards == ()
        alice.server.refresh_from_db()
        assert alice.server.revision == revision + 1
    assert api.delete(f"/forwards/{made['id']}").status_code == 204
    with alice.scope:
        told = AuditEntry.objects.filter(action__startswith="forward.").order_by("created_at", "pk")
        assert [entry.action for entry in told] == ["forward.added", "forward.changed", "forward.removed"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"port": 53}, "port", "the shield's own: DNS"),
        ({"port": 0}, "port", "greater than or equal to 1"),
        ({"target": "game.example.com"}, "target", "IP address"),
        ({"target": "127.0.0.1", "target_port": 1}, "target", "shield itself"),
        ({"target": "a b"}, "target", "hostname"),
        ({"target": "203.0.113.7\nserver x"}, "target", "hostname"),
        ({"connections": 5}, "connections", "UDP has no connections"),
        ({"proxy_protocol": "v1"}, "proxy_protocol", "TCP forwards only"),
        ({"protocol": "tcp", "packets_per_second": 5}, "packets_per_second", "limit the connections"),
        ({"idle_seconds": 1}, "idle_seconds", "greater than or equal to 10"),
        ({"server": ident(99)}, "server", ""),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(
    api: Api, alice: Tenant, changes: dict[str, Any], field: str, words: str
) -> None:
    answer = api.post("/forwards", body(alice, **changes))
    assert answer.status_code in (400, 404, 409, 422), answer.content
    assert words in answer.content.decode()
    with alice.scope:
        assert not Forward.objects.exists()


def test_a_port_is_passed_on_once(api: Api, alice: Tenant) -> None:
    added(api, alice)
    answer = api.post("/forwards", body(alice, name="other"))
    assert (answer.status_code, "“game”" in answer.json()["detail"]) == (409, True)
    added(api, alice, name="tcp", protocol="tcp")


def test_shield_is_no_target_of_itself(api: Api, alice: Tenant) -> None:
    with alice.scope:
        alice.server.public_ipv4 = "203.0.113.7"
        alice.server.save()
    assert "circle" in api.post("/forwards", body(alice)).json()["detail"]


def test_number_is_limited(api: Api, alice: Tenant) -> None:
    with alice.scope:
        Forward.objects.bulk_create(
            Forward(
                account=alice.account,
                server=alice.server,
                name="x",
                port=20_000 + n,
                target="203.0.113.7",
                target_port=9,
            )
            for n in range(FORWARDS_MAX)
        )
    assert api.post("/forwards", body(alice)).status_code in (402, 403, 409, 422)


def test_counts_are_added_once_and_shown(api: Api, alice: Tenant, mallory: Tenant) -> None:
    made = added(api, alice)
    part = protocol.ForwardTraffic(forward_id=made["id"], hour=int(time.time()), bytes_in=5, packets_in=2)
    batch = protocol.Batch(boot_id=ident(5), seq=1, at=time.time(), forwards=(part,))
    for tenant in (alice, alice, mallory):
        with tenant.scope:
            metrics.ingest(server_id=tenant.server.pk, batch=batch)
    shown = api.get(f"/forwards/{made['id']}").json()["last_24_hours"]
    assert shown == {"sessions": 0, "bytes_in": 5, "bytes_out": 0, "packets_in": 2, "packets_out": 0}
    assert api.get("/forwards").json()["results"][0]["last_24_hours"] == shown
    with alice.scope:
        forwards.expire_hours(ForwardHour.objects.get().hour + forwards.KEPT * 2)
        assert not ForwardHour.objects.exists()


def test_roll_back_brings_forwards_back(api: Api, alice: Tenant) -> None:
    made = added(api, alice)
    with alice.scope:
        alice.server.refresh_from_db()
        revision = alice.server.revision
    api.patch(f"/forwards/{made['id']}", {"target": "203.0.113.8"})
    added(api, alice, name="second", port=27016)
    difference = api.get(f"/servers/{alice.server.pk}/snapshots/{revision + 2}/diff?against={revision}").json()
    assert difference["server"]["forwards"] == {
        "added": ["udp 27015 to 203.0.113.8:27015", "udp 27016 to 203.0.113.7:27015"],
        "removed": ["udp 27015 to 203.0.113.7:27015"],
    }
    restored = api.post(f"/servers/{alice.server.pk}/snapshots/{revision}/restore")
    assert restored.json() == {"revision": revision + 3, "domains": 0}
    with alice.scope:
        assert [(part.port, part.target) for part in snapshot_of(alice.server).forwards] == [(27015, "203.0.113.7")]


def test_pages_add_change_and_remove(alice: Tenant, signed_in: Any) -> None:
    browser = signed_in(alice.owner)
    assert "No forwards yet" in browser.get("/forwards").content.decode()
    form = body(alice) | {"idle_seconds": 300, "connections": 0, "packets_per_second": 0, "proxy_protocol": "off"}
    refused = browser.post("/forwards/add", form | {"port": 443, "enabled": "on"})
    assert "shield&#x27;s own: HTTPS" in refused.content.decode()
    browser.post("/forwards/add", form | {"enabled": "on"})
    with alice.scope:
        row = Forward.objects.get()
    assert "203.0.113.7:27015" in browser.get("/forwards").content.decode()
    browser.post(f"/forwards/{row.pk}", form | {"port": 27020})
    with alice.scope:
        row.refresh_from_db()
        assert (row.port, row.enabled) == (27020, False)
    browser.post(f"/forwards/{row.pk}/remove")
    with alice.scope:
        assert not Forward.objects.exists()
