"""What a shield answers when the control plane is gone: by the last rules, from its own sight, and back again."""

from typing import Any

from msgspec import structs

from lumos_agent.answers import ALONE_SECONDS, REJOIN_SECONDS, Answers
from lumos_agent.failover import Member, Rule
from lumos_agent.protocol import Peer
from lumos_agent.schema import Snapshot
from lumos_agent.verdict import Sight
from lumos_agent.zone import Address, Nameserver, Proxied, Zone
from tests.agent.builders import ident

OWN, NEAR, FAR = ident(1), ident(2), ident(3)
ADDRESSES = {OWN: "192.0.2.1", NEAR: "192.0.2.2", FAR: "192.0.2.3"}


def snapshot(*order: str, answered: tuple[str, ...] = (), ruled: bool = True, **values: Any) -> Snapshot:
    """Return what OWN runs: a zone with a proxied name on shields in this order."""
    addresses = tuple(Address(address=ADDRESSES[s], server=s, down=bool(answered) and s not in answered) for s in order)
    zone = Zone(
        id=ident(9), name="example.com", serial=1, nameservers=(Nameserver(server=OWN, number=1),),
        proxied=(Proxied(owner="www", ttl=30, addresses=addresses),),
    )  # fmt: skip
    members = tuple(Member(server=s, addresses=(ADDRESSES[s],)) for s in order)
    rule = Rule(domain=ident(8), hostname="www.example.com", members=members, answered=answered, **values)
    return Snapshot(server_id=OWN, domains=(), zones=(zone,), failover=(rule,) if ruled else ())


class Scene:
    """A shield with a clock and a network of its own."""

    def __init__(self, *peers: str) -> None:
        self.now = 1000.0
        self.dead: set[str] = set()
        named = tuple(Peer(server_id=s, addresses=(ADDRESSES[s],), port=80, key="") for s in peers)
        self.answers = Answers(
            lambda own: [
                Sight(vantage=own, address=a, is_ok=s not in self.dead) for s, a in ADDRESSES.items() if s in peers
            ],
            lambda: named,
            lambda: self.now,
        )

    def after(self, seconds: float, given: Snapshot) -> set[str]:
        """Let time pass, look every second, and return who is answered."""
        for _ in range(int(seconds)):
            self.now += 1
            self.answers.look(given)
        (proxied,) = self.answers.decided(given).zones[0].proxied
        return {a.server for a in proxied.addresses if not a.down}


def test_the_control_plane_decides_while_it_is_there() -> None:
    scene, given = Scene(NEAR), snapshot(NEAR, OWN, answered=(NEAR,))
    scene.answers.connection(is_connected=True)
    scene.dead = {NEAR}
    assert scene.after(600, given) == {NEAR}


def test_a_dead_shield_leaves_the_answers_and_comes_back_after_the_hold_down() -> None:
    scene, given = Scene(NEAR), snapshot(NEAR, OWN, answered=(NEAR,), hold_down_seconds=60, gap_seconds=5)
    scene.answers.connection(is_connected=True)
    scene.after(5, given)
    scene.answers.connection(is_connected=False)
    scene.dead = {NEAR}
    assert scene.after(ALONE_SECONDS - 1, given) == {NEAR}
    assert scene.after(2, given) == {OWN}
    scene.dead = set()
    assert scene.after(50, given) == {OWN}
    assert scene.after(20, given) == {NEAR}


def test_who_returns_keeps_its_own_answer_until_the_control_plane_knows() -> None:
    scene, given = Scene(NEAR), snapshot(NEAR, OWN, answered=(NEAR,))
    scene.dead = {NEAR}
    assert scene.after(ALONE_SECONDS + 1, given) == {OWN}
    scene.answers.connection(is_connected=True)
    assert scene.after(REJOIN_SECONDS - 1, given) == {OWN}
    known = snapshot(NEAR, OWN, answered=(OWN,))
    assert scene.after(5, known) == {OWN}
    assert scene.after(1, snapshot(NEAR, OWN, answered=(NEAR,))) == {NEAR}


def test_who_sees_nobody_of_several_changes_nothing() -> None:
    scene, given = Scene(NEAR, FAR), snapshot(NEAR, FAR, OWN, answered=(NEAR,))
    scene.dead = {NEAR, FAR}
    assert scene.after(600, given) == {NEAR}


def test_a_hold_holds_here_too() -> None:
    scene, given = Scene(NEAR), snapshot(NEAR, OWN, answered=(NEAR,), is_held=True)
    scene.dead = {NEAR}
    assert scene.after(600, given) == {NEAR}


def test_a_weighted_set_loses_who_is_dead_and_keeps_its_weights() -> None:
    scene, given = Scene(NEAR, FAR), snapshot(NEAR, FAR, OWN, answered=(NEAR, FAR, OWN), mode="all")
    (served,) = given.zones
    weighted = tuple(structs.replace(a, weight=10 * n) for n, a in enumerate(served.proxied[0].addresses, 1))
    proxied = structs.replace(served.proxied[0], addresses=weighted)
    given = structs.replace(given, zones=(structs.replace(served, proxied=(proxied,)),))
    scene.dead = {NEAR}
    assert scene.after(60, given) == {FAR, OWN}
    answers = scene.answers.decided(given).zones[0].proxied[0].addresses
    assert [(a.server, a.weight, a.down) for a in answers] == [(NEAR, 10, True), (FAR, 20, False), (OWN, 30, False)]


def test_names_without_a_rule_leave_the_dead_out() -> None:
    scene, given = Scene(NEAR, FAR), snapshot(NEAR, FAR, OWN, ruled=False)
    scene.dead = {NEAR}
    assert scene.after(60, given) == {FAR, OWN}
    stale = structs.replace(given, zones=snapshot(NEAR, FAR, OWN, answered=(FAR, OWN)).zones)
    scene.dead = set()
    assert scene.after(60, stale) == {NEAR, FAR, OWN}  # the control plane's last word was that NEAR is down


def test_looking_says_when_something_changed() -> None:
    scene, given = Scene(NEAR), snapshot(NEAR, OWN, answered=(NEAR,))
    scene.now += ALONE_SECONDS
    assert scene.answers.look(given)
    assert not scene.answers.look(given)
    scene.dead = {NEAR}
    assert scene.answers.look(given)
    assert not scene.answers.look(given)
