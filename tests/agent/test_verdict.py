"""How a shield does: a table of what may happen to it, to its vantage points and to the control plane."""

import pytest

from lumos_agent.verdict import CONTROL, Evidence, Sight, Streak, after, seen_alone, verdict

V4, V6 = "198.51.100.1", "2001:db8::1"
NEIGHBOUR, THIRD = "neighbour", "third"


def sight(vantage: str, *, ok: bool, address: str = V4, reason: str = "", seconds: float = 0.01) -> Sight:
    return Sight(vantage=vantage, address=address, is_ok=ok, reason=reason, seconds=seconds)


def seen(*oks: bool, address: str = V4, seconds: float = 0.01) -> tuple[Sight, ...]:
    vantages = (CONTROL, NEIGHBOUR, THIRD)
    return tuple(sight(v, ok=ok, address=address, seconds=seconds) for v, ok in zip(vantages, oks, strict=False))


LIVE, GONE = 3.0, 300.0
CASES = {
    "all well": (Evidence(agent_age_seconds=LIVE, sights=seen(True, True)), "up"),
    "cut off the network": (Evidence(agent_age_seconds=GONE, sights=seen(False, False)), "down"),
    "cut off just now": (Evidence(agent_age_seconds=20.0, sights=seen(False, False)), "down"),
    "blackholed, its agent lives": (Evidence(agent_age_seconds=LIVE, sights=seen(False, False)), "down"),
    "TCP accepts, HTTP hangs": (
        Evidence(agent_age_seconds=LIVE, sights=(sight(CONTROL, ok=False, reason="no HTTP answer within 3 s"),)),
        "down",
    ),
    "another server answers": (
        Evidence(agent_age_seconds=GONE, sights=(sight(CONTROL, ok=False, reason="another server answers"),)),
        "down",
    ),
    "agent stopped, HAProxy fine": (Evidence(agent_age_seconds=GONE, sights=seen(True, True)), "degraded"),
    "control plane cut from this shield": (Evidence(agent_age_seconds=GONE, sights=seen(False, True)), "degraded"),
    "a neighbour cut from this shield": (Evidence(agent_age_seconds=LIVE, sights=seen(True, False)), "degraded"),
    "two of three reach it": (Evidence(agent_age_seconds=LIVE, sights=seen(True, False, True)), "degraded"),
    "one of three reaches it": (Evidence(agent_age_seconds=LIVE, sights=seen(True, False, False)), "down"),
    "slow": (Evidence(agent_age_seconds=LIVE, sights=seen(True, True, seconds=1.8)), "degraded"),
    "slow for one": (
        Evidence(agent_age_seconds=LIVE, sights=(sight(CONTROL, ok=True, seconds=2.0), sight(NEIGHBOUR, ok=True))),
        "up",
    ),
    "IPv6 broken": (Evidence(agent_age_seconds=LIVE, sights=seen(True) + seen(False, address=V6)), "degraded"),
    "control plane blind, all shields gone": (
        Evidence(agent_age_seconds=GONE, sights=seen(False), blind=frozenset({CONTROL})),
        "unknown",
    ),
    "control plane blind, a neighbour is not": (
        Evidence(agent_age_seconds=LIVE, sights=seen(False, True), blind=frozenset({CONTROL})),
        "up",
    ),
    "control plane blind, neighbours see it fail": (
        Evidence(agent_age_seconds=GONE, sights=seen(False, False, False), blind=frozenset({CONTROL})),
        "down",
    ),
    "a blind neighbour accuses": (
        Evidence(agent_age_seconds=LIVE, sights=seen(True, False), blind=frozenset({NEIGHBOUR})),
        "up",
    ),
    "HAProxy died": (Evidence(agent_age_seconds=LIVE, haproxy_runs=False, sights=seen(False, False)), "down"),
    "HAProxy answers all but its agent": (
        Evidence(agent_age_seconds=LIVE, haproxy_runs=False, sights=seen(True, True)),
        "degraded",
    ),
    "not probed, agent lives": (Evidence(agent_age_seconds=LIVE), "up"),
    "not probed, HAProxy died": (Evidence(agent_age_seconds=LIVE, haproxy_runs=False), "down"),
    "not probed, agent gone": (Evidence(agent_age_seconds=GONE), "down"),
    "not probed, all agents gone": (Evidence(agent_age_seconds=GONE, blind=frozenset({CONTROL})), "unknown"),
    "never connected": (Evidence(), "unknown"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_table_of_verdicts(name: str) -> None:
    evidence, expected = CASES[name]
    found = verdict(evidence)
    assert found.state == expected
    assert all(reason.endswith(".") for reason in found.reasons)


def test_reasons_name_the_address_the_numbers_and_the_words() -> None:
    found = verdict(
        Evidence(
            agent_age_seconds=LIVE, sights=(sight(CONTROL, ok=False, reason="connection refused"), *seen(False)[1:])
        )
    )
    assert found.reasons[0] == "198.51.100.1 does not answer 1 of 1 vantage point: connection refused."


def test_an_address_that_is_down_is_named_while_the_shield_serves() -> None:
    found = verdict(Evidence(agent_age_seconds=LIVE, sights=seen(True) + seen(False, address=V6)))
    assert found.down_addresses == {V6}


def run(results: str) -> list[bool | None]:
    streak, states = Streak(), []
    for result in results:
        streak = after(streak, result == "+")
        states.append(streak.is_ok)
    return states


@pytest.mark.parametrize(
    ("results", "last"),
    [
        ("+", True),
        ("-", None),
        ("---", False),
        ("--+", True),
        ("+--", True),
        ("+---", False),
        ("+--+--+--", True),  # never three in a row
        ("---+", False),
        ("---++", True),
        ("---+-+-+", False),  # never two in a row
        ("---++---", False),
    ],
)
def test_probes_settle_by_rise_and_fall(results: str, last: bool | None) -> None:
    assert run(results)[-1] is last


def test_a_streak_is_settled_when_its_newest_probe_agrees() -> None:
    assert not Streak().is_settled
    assert after(Streak(), is_ok=True).is_settled
    assert not after(Streak(is_ok=True), is_ok=False).is_settled


ADDRESSES = {"own": ["10.0.0.1"], "b": ["10.0.0.2"], "c": ["10.0.0.3"]}


def alone(**seen_by_own: bool) -> dict[str, str]:
    sights = [sight("own", ok=ok, address=ADDRESSES[server][0]) for server, ok in seen_by_own.items()]
    return {server: found.state for server, found in seen_alone("own", sights, ADDRESSES).items()}


@pytest.mark.parametrize(
    ("seen_by_own", "states"),
    [
        ({"b": True, "c": True}, {"own": "up", "b": "up", "c": "up"}),
        ({"b": False, "c": True}, {"own": "up", "b": "down", "c": "up"}),
        ({"b": False, "c": False}, {"own": "up", "b": "unknown", "c": "unknown"}),  # this one may be cut off
        ({"b": False}, {"own": "up", "b": "down", "c": "unknown"}),  # two shields: the other one
        ({}, {"own": "up", "b": "unknown", "c": "unknown"}),
    ],
)
def test_a_shield_that_has_lost_the_control_plane(seen_by_own: dict[str, bool], states: dict[str, str]) -> None:
    assert alone(**seen_by_own) == states
