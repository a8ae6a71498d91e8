"""Tunnels without a network: what is rendered, what is read, which way is taken."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumos_agent import grammar, tunnel
from lumos_agent.drivers.wireguard import chosen_ways
from lumos_agent.drivers.wireguard_device import Dump, PeerState, parse_dump
from lumos_agent.render.haproxy import Identity, Options, render
from lumos_agent.render.wireguard import interface_conf, with_addresses
from lumos_agent.schema import Origin, Snapshot
from lumos_agent.traffic import Route, Target, Traffic
from lumos_agent.tunnel import Interface, Peer, Tunnels, interface_name
from tests.agent.builders import domain, ident

OLD, NEW, OTHER = (letter * 43 + "=" for letter in "AEI")
ONE, TWO = Interface(number=1, port=51820), Interface(number=2, port=51821)


def peer(number: int, *keys: str) -> Peer:
    return Peer(tunnel_id=ident(number), name=f"web-{number}", address=f"10.97.0.{number}", keys=keys)


def tunnels(*peers: Peer, interfaces: tuple[Interface, ...] = (ONE,)) -> Tunnels:
    return Tunnels(address="10.97.0.1", network="10.97.0.0/16", interfaces=interfaces, peers=peers)


def dump(**handshakes: int) -> Dump:
    keys = {"old": OLD, "new": NEW, "other": OTHER}
    return Dump("", 1, {keys[n]: PeerState("", frozenset(), at, 0, 0) for n, at in handshakes.items()})


def test_a_peer_that_changes_its_key_may_shake_hands_but_not_send() -> None:
    text = interface_conf(tunnels(peer(2, OLD, NEW)), ONE, "PRIVATE", {"10.97.0.2": (1, OLD)}, {NEW: "192.0.2.9:7"})
    assert text.split("\n\n") == [
        "[Interface]\nPrivateKey = PRIVATE\nListenPort = 51820",
        f"[Peer]\nPublicKey = {OLD}\nPersistentKeepalive = 25\nAllowedIPs = 10.97.0.2/32",
        f"[Peer]\nPublicKey = {NEW}\nPersistentKeepalive = 25\nEndpoint = 192.0.2.9:7\n",
    ]


def test_a_dump_is_read() -> None:
    text = f"priv\t{OLD}\t51820\toff\n{NEW}\t(none)\t192.0.2.9:7\t10.97.0.2/32\t1700000000\t10\t20\t25\n"
    text += f"{OTHER}\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
    read = parse_dump(text)
    assert (read.public_key, read.port) == (OLD, 51820)
    assert read.peers[NEW] == PeerState("192.0.2.9:7", frozenset({"10.97.0.2/32"}), 1700000000, 10, 20)
    assert read.peers[OTHER] == PeerState("", frozenset(), 0, 0, 0)


@pytest.mark.parametrize(
    ("first", "second", "before", "way"),
    [
        (None, None, {}, (1, OLD)),
        (None, None, {"10.97.0.2": (2, OLD)}, (2, OLD)),
        (None, None, {"10.97.0.2": (7, OTHER)}, (1, OLD)),
        (dump(old=5), dump(old=0), {"10.97.0.2": (2, OLD)}, (1, OLD)),
        (dump(old=5), dump(old=6), {"10.97.0.2": (1, OLD)}, (2, OLD)),
        (dump(old=5, new=9), dump(old=6), {}, (1, NEW)),
        (dump(old=5), dump(old=5), {"10.97.0.2": (2, OLD)}, (2, OLD)),
    ],
)
def test_packets_take_the_way_of_the_last_handshake(
    first: Dump | None, second: Dump | None, before: dict[str, tuple[int, str]], way: tuple[int, str]
) -> None:
    both = tunnels(peer(2, OLD, NEW), interfaces=(ONE, TWO))
    assert chosen_ways(both, {1: first, 2: second}, before) == {"10.97.0.2": way}


def test_an_origin_by_the_name_of_a_tunnel_has_the_address_of_this_shield() -> None:
    route = Route(path="/api", origins=(Target(address="web-2.tunnel", port=81),))
    named = domain(
        1,
        origins=(Origin(id=ident(7), address="web-2.tunnel", port=80, tls="on"),
                 Origin(id=ident(8), address="gone.tunnel", port=80)),
        traffic=Traffic(routes=(route,)),
    )  # fmt: skip
    plain = domain(2)
    snapshot = Snapshot(server_id=ident(0), domains=(named, plain), tunnels=tunnels(peer(2, OLD)))
    assert with_addresses(snapshot.domains, snapshot.tunnels)[1] is plain
    options = Options(
        http=("0.0.0.0:80",),
        https=(),
        run_dir="/r",
        certificates_list="/l",
        challenges_map="/c",
        alive_map="/a",
        server_state="/s",
        engine="/e",
    )
    cfg = render(snapshot, options, Identity()).cfg
    assert f"server o-{ident(7)} 10.97.0.2:80 ssl verify none sni str(d1.example)" in cfg
    assert "server t-0 10.97.0.2:81 weight" in cfg
    assert f"server o-{ident(8)} 192.0.0.8:80 weight 100 disabled" in cfg
    assert ".tunnel" not in cfg
    assert "resolvers" not in cfg


def _text(constrained: Any) -> st.SearchStrategy[str]:
    pattern: str = constrained.__metadata__[0].pattern
    return st.from_regex(pattern, fullmatch=True)


@given(_text(tunnel.TunnelName), _text(tunnel.Ipv4), _text(tunnel.PublicKey), _text(grammar.Id))
def test_nothing_of_a_snapshot_becomes_a_line(name: str, address: str, key: str, ident_: str) -> None:
    part = Peer(tunnel_id=ident_, name=name, address=address, keys=(key,))
    ends = Tunnels(
        address="10.97.0.1" if address != "10.97.0.1" else "10.97.0.2",
        network="10.0.0.0/8",
        interfaces=(ONE,),
        peers=(part,),
    )
    text = interface_conf(ends, ONE, "P", {address: (1, key)}, {})
    assert text.count("\n") == 8
    assert text.isascii()
    assert len(interface_name(ident_, 2**31)) <= 15
    assert tunnel.OWN_NAME.fullmatch(interface_name(ident_, 2**31))


@pytest.mark.parametrize(
    ("peers", "interfaces"),
    [
        ((peer(2, OLD), peer(3, OLD)), (ONE,)),
        ((peer(1, OLD),), (ONE,)),
        ((), (ONE, Interface(number=3, port=9))),
        ((), ()),
    ],
)
def test_ends_that_collide_are_refused(peers: tuple[Peer, ...], interfaces: tuple[Interface, ...]) -> None:
    raw = msgspec.json.encode(
        {"address": "10.97.0.1", "network": "10.97.0.0/16", "interfaces": interfaces, "peers": peers}
    )
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=Tunnels)
