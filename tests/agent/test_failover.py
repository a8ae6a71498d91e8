"""What a domain answers: ordered and weighted sets, hysteresis, and what people may do. `A` is the primary."""

import itertools
import random
from typing import Any

import pytest

from lumos_agent.failover import Decision, Health, Member, Rule, addresses, decide, named
from lumos_agent.verdict import State

A, B, C = (f"{n * 8}-0000-4000-8000-000000000000" for n in "abc")
DOMAIN = "dddddddd-0000-4000-8000-000000000000"
MEMBERS = (
    Member(server=A, addresses=("192.0.2.1", "2001:db8::1")),
    Member(server=B, addresses=("192.0.2.2",)),
    Member(server=C, addresses=("192.0.2.3",)),
)


def rule(answered: str = "", **values: Any) -> Rule:
    servers = tuple({"A": A, "B": B, "C": C}[letter] for letter in answered)
    values = {"hold_down_seconds": 120, "gap_seconds": 60} | values
    return Rule(domain=DOMAIN, hostname="www.example.com", members=MEMBERS, answered=servers, **values)


def health(a: State = "up", b: State = "up", c: State = "up", **serves: float) -> dict[str, Health]:
    states = {A: a, B: b, C: c}
    times = {A: serves.get("A", 9999.0), B: serves.get("B", 9999.0), C: serves.get("C", 9999.0)}
    return {s: Health(state=st, serves_seconds=0.0 if st == "down" else times[s]) for s, st in states.items()}


def letters(decision: Decision) -> str:
    return "".join({A: "A", B: "B", C: "C"}[server] for server in decision.answered)


ORDERED = {
    "nothing happens": (rule("A"), health(), None, "A", "none"),
    "first answer": (rule(), health(), None, "A", "first"),
    "first answer, primary down": (rule(), health(a="down"), None, "B", "first"),
    "first answer, nothing known": (rule(), {}, None, "A", "first"),
    "first answer, all down": (rule(), health("down", "down", "down"), None, "A", "first"),
    "primary down": (rule("A"), health(a="down"), 9999.0, "B", "failed"),
    "primary down right after a change": (rule("A"), health(a="down"), 1.0, "B", "failed"),
    "primary and second down": (rule("A"), health("down", "down"), None, "C", "failed"),
    "primary down, second back too short": (rule("A"), health(a="down", B=5.0), None, "C", "failed"),
    "primary down, others back too short": (rule("A"), health(a="down", B=5.0, C=5.0), None, "B", "failed"),
    "primary degraded": (rule("A"), health(a="degraded"), None, "A", "none"),
    "primary unknown": (rule("A"), health(a="unknown"), None, "A", "none"),
    "all down": (rule("A"), health("down", "down", "down"), None, "A", "none"),
    "all unknown": (rule("B"), health("unknown", "unknown", "unknown"), None, "B", "none"),
    "primary down, others unknown": (rule("A"), health("down", "unknown", "unknown"), None, "A", "none"),
    "primary back, too short": (rule("B"), health(A=119.0), 9999.0, "B", "none"),
    "primary back long enough": (rule("B"), health(A=120.0), 9999.0, "A", "returned"),
    "primary back, change too young": (rule("B"), health(A=500.0), 59.0, "B", "none"),
    "primary back but unknown": (rule("B"), health(a="unknown"), 9999.0, "B", "none"),
    "a later member does not replace": (rule("B"), health(a="down"), 9999.0, "B", "none"),
    "held, primary down": (rule("A", is_held=True), health(a="down"), None, "A", "none"),
    "held, primary back": (rule("B", is_held=True), health(), 9999.0, "B", "none"),
    "switched by a person": (rule("A", preferred=C), health(), 1.0, "C", "person"),
    "switched to one that is down": (rule("A", preferred=C), health(c="down"), 9999.0, "A", "none"),
    "the chosen one fails": (rule("C", preferred=C), health(c="down"), 9999.0, "A", "failed"),
    "the chosen one is back too short": (rule("A", preferred=C), health(C=3.0), 9999.0, "A", "none"),
    "drill of the primary": (rule("A", drilled=A), health(), 1.0, "B", "drill"),
    "after the drill": (rule("B"), health(), 60.0, "A", "returned"),
    "drill while the others are down": (rule("A", drilled=A), health("up", "down", "down"), None, "A", "none"),
    "from all to one": (rule("ABC"), health(), 9999.0, "A", "person"),
}
ALL = {
    "first answer": (rule(mode="all"), health(), None, "ABC", "first"),
    "one down": (rule("ABC", mode="all"), health(b="down"), 1.0, "AC", "failed"),
    "all down": (rule("ABC", mode="all"), health("down", "down", "down"), 9999.0, "ABC", "none"),
    "back too short": (rule("AC", mode="all"), health(B=5.0), 9999.0, "AC", "none"),
    "back": (rule("AC", mode="all"), health(B=500.0), 9999.0, "ABC", "returned"),
    "the last one fails": (rule("A", mode="all"), health(a="down"), 9999.0, "BC", "failed"),
    "drill": (rule("ABC", mode="all", drilled=A), health(), 9999.0, "BC", "drill"),
}


@pytest.mark.parametrize("name", ORDERED)
def test_one_shield_in_order(name: str) -> None:
    given, state, since, answered, cause = ORDERED[name]
    found = decide(given, state, since)
    assert (letters(found), found.cause) == (answered, cause)


@pytest.mark.parametrize("name", ALL)
def test_every_shield(name: str) -> None:
    given, state, since, answered, cause = ALL[name]
    found = decide(given, state, since)
    assert (letters(found), found.cause) == (answered, cause)


def test_a_decision_says_what_it_waits_for() -> None:
    found = decide(rule("B"), health(A=100.0), 9999.0)
    assert found.wait_seconds == 20.0
    assert named(found.reason, {A: "oslo"}) == "oslo comes back in 20 s if it goes on serving."


def test_flapping_changes_the_answer_a_bounded_number_of_times() -> None:
    """An hour of a primary that goes and comes every 20 s: the first failure moves the answer, and that was it."""
    present, changes, changed_at, served_since = rule("A"), 0, -9999.0, 0.0
    for second in range(0, 3600, 5):
        is_down = second // 20 % 2 == 1
        served_since = second if is_down else served_since
        state = health(a="down" if is_down else "up", A=float(second - served_since))
        found = decide(present, state, second - changed_at)
        if found.cause != "none":
            changes, changed_at = changes + 1, float(second)
            present = rule(letters(found))
    assert changes == 1


@pytest.mark.parametrize("mode", ["ordered", "all"])
def test_never_nothing_never_a_failing_one_while_another_serves(mode: Any) -> None:
    chance = random.Random(6)
    states: tuple[State, ...] = ("up", "degraded", "down", "unknown")
    for a, b, c in itertools.product(states, repeat=3):
        for answered in ("", "A", "B", "C", "AB", "BC", "ABC"):
            state = health(a, b, c, A=chance.choice([0.0, 60.0, 600.0]))
            found = decide(rule(answered, mode=mode), state, chance.choice([None, 1.0, 600.0]))
            assert found.answered
            assert addresses(rule(), found.answered, state)
            if any(one.state in ("up", "degraded") for one in state.values()):
                assert any(state[server].state != "down" for server in found.answered)


def test_addresses_that_are_down_are_left_out_unless_all_are() -> None:
    state = {A: Health(state="degraded", down_addresses=frozenset({"2001:db8::1"}))}
    assert addresses(rule(), (A,), state) == ("192.0.2.1",)
    state = {A: Health(state="down", down_addresses=frozenset({"2001:db8::1", "192.0.2.1"}))}
    assert addresses(rule(), (A,), state) == ("192.0.2.1", "2001:db8::1")
