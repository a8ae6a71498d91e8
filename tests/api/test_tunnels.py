"""Tunnels through the API, the pages and the doors of an origin's script."""

import base64
import secrets
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from lumos_agent import protocol
from servers import tunnel_ends
from servers.enrolment import token_hash
from servers.models import Server
from servers.services import add_server
from servers.snapshots import snapshot_of
from servers.tunnel_addresses import origin_address, shield_address
from servers.tunnel_models import Tunnel, TunnelShield, TunnelState
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def token() -> str:
    return f"lmto_{secrets.token_hex(32)}"


def ask(path: str, bearer: str, **values: str) -> Any:
    headers = {"authorization": f"Bearer {bearer}"}
    return Client(headers=headers).post(path, values) if values else Client(headers=headers).get(path)


def added(api: Api, name: str = "web") -> dict[str, Any]:
    answer = api.post("/tunnels", {"name": name})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def report(server: Server, tunnel: Tunnel, public_key: str, *, number: int = 1, **keys: str) -> None:
    state = protocol.TunnelState(
        tunnel_id=str(tunnel.pk), number=number, public_key=public_key, handshake_at=timezone.now().timestamp()
    )
    numbered = tuple(protocol.TunnelKey(number=int(n.removeprefix("k")), public_key=k) for n, k in keys.items())
    tunnel_ends.record_report(server_id=server.pk, report=protocol.TunnelReport(keys=numbered, states=(state,)))


@pytest.fixture
def joined(alice: Tenant, api: Api) -> Tunnel:
    """A tunnel of alice's whose origin runs the script; the shield has reported its key."""
    made = added(api)
    Server.unscoped.filter(pk=alice.server.pk).update(public_ipv4="192.0.2.1")
    with alice.scope:
        TunnelShield.objects.update(public_key=key())
    assert ask("/tunnel/v1/join", made["token"], public_key=key(), token=token()).status_code == 200
    found: Tunnel = Tunnel.unscoped.get(pk=made["tunnel"]["id"])
    return found


def test_an_origin_joins_once_and_gets_every_shield(alice: Tenant, api: Api, settings: Any) -> None:
    settings.PUBLIC_URL = "https://lumos.test"
    made, own = added(api), token()
    assert made["command"] == f"curl -fsSL https://lumos.test/tunnel | sudo LUMOS_TUNNEL_TOKEN={made['token']} sh"
    with alice.scope:
        later, _ = add_server(name="fra; touch /x\n[Peer]", actor=alice.owner, public_ipv6="2001:db8::1")
        assert TunnelShield.objects.count() == 2
        TunnelShield.objects.filter(server=later).update(public_key=key())
    public = key()
    answer = ask("/tunnel/v1/join", made["token"], public_key=public, token=own)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "has not reported its key yet" in text
    assert "Endpoint = [2001:db8::1]:51820" in text
    assert text.count("[Peer]") == 1
    assert "Address = 10.97.0.2/32, 10.97.4.2/32" in text
    assert ask("/tunnel/v1/join", made["token"], public_key=key(), token=token()).status_code == 401
    assert ask("/tunnel/v1/configuration", own).content == answer.content
    with alice.scope:
        part = snapshot_of(later).tunnels
        assert part is not None
        assert [(p.name, p.address, p.keys) for p in part.peers] == [("web", "10.97.4.2", (public,))]
        assert part.address == "10.97.4.1"


@pytest.mark.parametrize("path", ["/tunnel/v1/join", "/tunnel/v1/key"])
def test_doors_want_a_token(path: str, db: None) -> None:
    for bearer in ("", "lmtj_", token(), f"lmtj_{secrets.token_hex(32)}"):
        assert ask(path, bearer, public_key=key(), token=token()).status_code == 401
    assert ask("/tunnel/v1/configuration", token()).status_code == 401
    assert Client().get("/tunnel").status_code == 200


def test_a_join_command_expires_and_another_one_ends_it(alice: Tenant, api: Api) -> None:
    made = added(api)
    path = f"/tunnels/{made['tunnel']['id']}"
    again = api.post(f"{path}/open-join").json()
    assert ask("/tunnel/v1/join", made["token"], public_key=key(), token=token()).status_code == 401
    Tunnel.unscoped.update(join_expires_at=timezone.now() - timedelta(seconds=1))
    assert ask("/tunnel/v1/join", again["token"], public_key=key(), token=token()).status_code == 401
    assert "token" not in api.get(path).json()


def test_what_makes_no_sense_is_refused(alice: Tenant, api: Api, joined: Tunnel) -> None:
    path = f"/tunnels/{joined.pk}"
    for name in ("", "-x", "a b", "ä", "x" * 41, "web.tunnel"):
        assert api.post("/tunnels", {"name": name}).status_code == 400
    assert api.post("/tunnels", {"name": "WEB"}).status_code == 409
    assert api.post(f"{path}/put-key", {"public_key": "x"}).status_code == 400
    other = added(api, "other")["tunnel"]["id"]
    assert api.post(f"/tunnels/{other}/put-key", {"public_key": joined.public_key}).status_code == 409
    for network in ("8.8.8.0/16", "10.0.0.0/8", "10.1.2.0/24", "::/0", "x", "127.0.0.0/16"):
        assert api.call("PUT", "/tunnel-network", {"network": network, "mtu": 1420}).status_code == 400
    for ports in ("", "0", "65536", "22", "80;reboot", ",".join(map(str, range(1000, 1030)))):
        assert api.get(f"{path}/firewall?ports={ports}").status_code == 400
    assert api.get(f"{path}/firewall?kind=pf").status_code == 400


def test_a_domain_names_a_tunnel_which_then_cannot_be_removed(alice: Tenant, api: Api, joined: Tunnel) -> None:
    path = f"/domains/{alice.domain.pk}"
    missing = api.patch(path, {"origins": [{"address": "nobody.tunnel", "port": 80}]})
    assert missing.status_code == 400
    assert "There is no tunnel nobody.tunnel" in missing.content.decode()
    assert api.patch(path, {"origins": [{"address": "web.tunnel", "port": 80}]}).status_code == 200
    refused = api.delete(f"/tunnels/{joined.pk}")
    assert refused.status_code == 409
    assert "alice.example" in refused.content.decode()
    routes = {"routes": [{"path": "/api", "origins": [{"address": "web.tunnel", "port": 81}]}]}
    assert api.patch(path, {"origins": [{"address": "192.0.2.9", "port": 80}], "traffic": routes}).status_code == 200
    assert api.delete(f"/tunnels/{joined.pk}").status_code == 409
    assert api.patch(path, {"traffic": {"routes": []}}).status_code == 200
    assert api.delete(f"/tunnels/{joined.pk}").status_code == 204
    with alice.scope:
        assert snapshot_of(alice.server).tunnels is None


def test_a_shield_changes_its_key_when_its_origins_have_followed(alice: Tenant, api: Api, joined: Tunnel) -> None:
    with alice.scope:
        end = TunnelShield.objects.get()
    path, old, new = f"/tunnel-shields/{end.pk}", end.public_key, key()
    assert api.post(f"{path}/end-old-key").status_code == 409
    with alice.scope:
        report(alice.server, joined, joined.public_key, k1=old)
    assert api.post(f"{path}/rotate-key").status_code == 200
    assert api.post(f"{path}/rotate-key").status_code == 409
    with alice.scope:
        part = snapshot_of(alice.server).tunnels
        assert part is not None
        assert [(i.number, i.port) for i in part.interfaces] == [(1, 51820), (2, 51821)]
        report(alice.server, joined, joined.public_key, k1=old, k2=new)
    shown = api.get(path).json()
    assert (shown["waiting_for"], shown["next_public_key"]) == (["web"], new)
    text = api.get(f"/tunnels/{joined.pk}/configuration").json()["configuration"]
    assert f"PublicKey = {new}\nEndpoint = 192.0.2.1:51821" in text
    with alice.scope:
        report(alice.server, joined, joined.public_key, number=2, k1=old, k2=new)
        part = snapshot_of(alice.server).tunnels
        assert part is not None
        assert [(i.number, i.port) for i in part.interfaces] == [(2, 51821)]
    assert api.get(path).json()["public_key"] == new


def test_an_origin_changes_its_key_when_the_shields_know_it(alice: Tenant, api: Api, joined: Tunnel) -> None:
    own, new = token(), key()
    Tunnel.unscoped.update(token_hash=token_hash(own))
    assert api.post(f"/tunnels/{joined.pk}/rotate-key").status_code == 200
    assert ask("/tunnel/v1/configuration", own).content.startswith(b"# A new key is wanted.\n")
    Server.unscoped.update(lease_until=timezone.now() + timedelta(hours=1))
    assert ask("/tunnel/v1/key", own, public_key=new).content == b"wait\n"
    Server.unscoped.update(apply_state="applied")
    assert ask("/tunnel/v1/key", own, public_key=new).content == b"ready\n"
    with alice.scope:
        part = snapshot_of(alice.server).tunnels
        assert part is not None
        assert part.peers[0].keys == (joined.public_key, new)
        report(alice.server, joined, joined.public_key)
        assert Tunnel.objects.get().next_public_key == new
        report(alice.server, joined, new)
        assert (Tunnel.objects.get().public_key, Tunnel.objects.get().next_public_key) == (new, "")


def test_another_network_moves_every_end(alice: Tenant, api: Api, joined: Tunnel) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"origins": [{"address": "172.16.5.5", "port": 80}]})
    refused = api.call("PUT", "/tunnel-network", {"network": "172.16.0.0/16", "mtu": 1420})
    assert refused.status_code == 400
    assert "172.16.5.5" in refused.content.decode()
    assert api.call("PUT", "/tunnel-network", {"network": "10.200.0.0/20", "mtu": 1380}).status_code == 200
    with alice.scope:
        part = snapshot_of(alice.server).tunnels
        assert part is not None
        assert (part.address, part.mtu, part.peers[0].address) == ("10.200.0.1", 1380, "10.200.0.2")


def test_addresses_never_collide() -> None:
    for network in ("10.97.0.0/16", "10.200.16.0/20", "172.16.0.0/12"):
        shields = {shield_address(network, place) for place in range(64)}
        origins = {origin_address(network, shield, origin) for shield in range(64) for origin in range(61)}
        assert len(shields | origins) == 64 * 62


def test_a_tunnel_without_a_way_says_why(api: Api, alice: Tenant, joined: Tunnel, signed_in: Any) -> None:
    def problem() -> str:
        (state,) = api.get(f"/tunnels/{joined.pk}").json()["states"]
        return str(state["problem"])

    with alice.scope:
        report(alice.server, joined, joined.public_key)
    assert problem() == ""
    TunnelState.unscoped.update(handshake_at=timezone.now() - timedelta(minutes=4))
    assert "is not connected to Lumos" in problem()
    Server.unscoped.update(lease_until=timezone.now() + timedelta(minutes=1))
    assert "No handshake for more than three minutes" in problem()
    added(api, "later")
    origins = [{"address": f"{name}.tunnel", "port": 80} for name in ("web", "later")]
    assert api.patch(f"/domains/{alice.domain.pk}", {"origins": origins}).status_code == 200
    browser = signed_in(alice.owner)
    page = browser.get(f"/domains/{alice.domain.pk}").content.decode()
    assert "waits for the origin to join" in page
    assert page.count("No handshake for more") == 1
    assert "No handshake for more" in browser.get("/tunnels").content.decode()


def test_pages_show_tunnels(alice: Tenant, api: Api, joined: Tunnel, signed_in: Any) -> None:
    browser = signed_in(alice.owner)
    with alice.scope:
        report(alice.server, joined, joined.public_key)
    assert "web.tunnel" in browser.get("/tunnels").content.decode()
    page = browser.get(f"/tunnels/{joined.pk}?ports=443&kind=ufw").content.decode()
    assert "Connected" in page
    assert "ufw insert 1 allow in on lumos0" in page
    assert "would lock you out" in browser.get(f"/tunnels/{joined.pk}?ports=22").content.decode()
    assert "lmtj_" in browser.post("/tunnels/add", {"name": "second"}).content.decode()
    by_hand = browser.post(f"/tunnels/{joined.pk}/files", {"public_key": key()}).content.decode()
    assert "[Interface]" in by_hand
    assert browser.post(f"/tunnels/{joined.pk}/remove").status_code == 302
