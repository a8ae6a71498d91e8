"""What probes and reports say about a shield: pure, used by the control plane and by shields that have lost it.

A *sight* is what one vantage point (another shield, or the control plane) sees of one address of the shield. All ages
are measured by whoever judges, with its own clock, so that nobody's clock has to be right.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct, structs

CONTROL = "control"
RISE, FALL = 2, 3
AGENT_GONE_SECONDS = 120.0
SLOW_SECONDS = 1.0

State = Literal["up", "degraded", "down", "unknown"]


class Streak(Struct, frozen=True):
    """What a vantage point makes of its own probes: `is_ok` is settled, `against` counts newer ones that disagree."""

    is_ok: bool | None = None
    against: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether the newest probe agrees with what is believed."""
        return self.is_ok is not None and not self.against


def after(streak: Streak, is_ok: bool) -> Streak:
    """Return the streak after one more probe: `FALL` failures make a failure, `RISE` answers an answer.

    The first answer of all is believed at once, the first failure is not.
    """
    if streak.is_ok == is_ok:
        return Streak(is_ok=is_ok)
    if streak.is_ok is None and is_ok:
        return Streak(is_ok=True)
    against = streak.against + 1 if (streak.is_ok is not None or not is_ok) else 1
    return Streak(is_ok=is_ok) if against >= (RISE if is_ok else FALL) else structs.replace(streak, against=against)


class Sight(Struct, frozen=True, kw_only=True):
    """What the vantage point `vantage` (a server's id or `CONTROL`) settled on about one address."""

    vantage: str
    address: str
    is_ok: bool
    reason: str = ""
    seconds: float = 0.0


class Evidence(Struct, frozen=True, kw_only=True):
    """All that is known of a shield. `sights` are of vantage points that are heard from now.

    `agent_age_seconds` is how long ago its agent was heard, None if never. `blind` names vantage points that reach no
    shield at all; `CONTROL` among them means that silence of agents may be Lumos's own.
    """

    agent_age_seconds: float | None = None
    haproxy_runs: bool = True
    sights: tuple[Sight, ...] = ()
    blind: frozenset[str] = frozenset()


class Verdict(Struct, frozen=True, kw_only=True):
    """`down_addresses` do not answer, whatever the state of the shield as a whole."""

    state: State
    reasons: tuple[str, ...]
    down_addresses: frozenset[str] = frozenset()


def verdict(evidence: Evidence) -> Verdict:
    """Return how a shield does: a majority of the vantage points that see anything decides about each address."""
    sights: dict[str, list[Sight]] = {}
    for sight in evidence.sights:
        if sight.vantage not in evidence.blind:
            sights.setdefault(sight.address, []).append(sight)
    is_heard = evidence.agent_age_seconds is not None and evidence.agent_age_seconds < AGENT_GONE_SECONDS
    if not sights:
        return _unseen(evidence, is_heard=is_heard)
    down = frozenset(address for address, seen in sights.items() if _is_refuted(seen))
    if len(down) == len(sights):
        reasons = [_failed(address, seen) for address, seen in sights.items()]
        if is_heard:
            reasons.append("Its agent is connected all the same.")
        return Verdict(state="down", reasons=tuple(reasons), down_addresses=down)
    doubts = [_failed(address, seen) for address, seen in sights.items() if not all(sight.is_ok for sight in seen)]
    doubts += [text for address, seen in sights.items() if address not in down and (text := _slow(address, seen))]
    if not is_heard:
        doubts.append("Its agent was not heard for two minutes; it answers visitors, but takes no changes.")
    if is_heard and not evidence.haproxy_runs:
        doubts.append("Its agent reports that HAProxy does not answer it.")
    if doubts:
        return Verdict(state="degraded", reasons=tuple(doubts), down_addresses=down)
    count = len({sight.vantage for seen in sights.values() for sight in seen})
    return Verdict(state="up", reasons=(f"It answers {_places(count)}.",))


def _unseen(evidence: Evidence, *, is_heard: bool) -> Verdict:
    """Judge a shield that nobody probes: its agent's word is all there is."""
    if evidence.agent_age_seconds is None:
        return Verdict(state="unknown", reasons=("Its agent has never connected.",))
    if is_heard and evidence.haproxy_runs:
        return Verdict(state="up", reasons=("Its agent is connected; nobody probes its addresses.",))
    if is_heard:
        return Verdict(state="down", reasons=("Its agent reports that HAProxy does not run.",))
    if CONTROL in evidence.blind:
        return Verdict(state="unknown", reasons=("Lumos reaches no shield at all; its own network may be the reason.",))
    return Verdict(state="down", reasons=("Its agent was not heard for two minutes, and nobody probes its addresses.",))


def _is_refuted(seen: list[Sight]) -> bool:
    return sum(not sight.is_ok for sight in seen) * 2 > len(seen)


def _failed(address: str, seen: list[Sight]) -> str:
    failed = [sight for sight in seen if not sight.is_ok]
    words = sorted({sight.reason for sight in failed if sight.reason})
    why = f": {'; '.join(words)}." if words else "."
    return f"{address} does not answer {len(failed)} of {_places(len(seen))}{why}"


def _slow(address: str, seen: list[Sight]) -> str:
    times = [sight.seconds for sight in seen if sight.is_ok]
    if times and min(times) >= SLOW_SECONDS:
        return f"{address} answers slowly: {min(times):.1f} s at best."
    return ""


def _places(count: int) -> str:
    return f"{count} vantage point{'s' if count != 1 else ''}"


def seen_alone(own: str, sights: Iterable[Sight], addresses: Mapping[str, Iterable[str]]) -> dict[str, Verdict]:
    """Return how the shields do as `own` sees them, without anybody else to ask; `addresses` are all by server.

    Who reaches none of several others may be the one that is cut off: then nothing is known of them.
    """
    by_address = {sight.address: sight for sight in sights}
    seen = {
        server: tuple(by_address[address] for address in theirs if address in by_address)
        for server, theirs in addresses.items()
        if server != own
    }
    seen = {server: theirs for server, theirs in seen.items() if theirs}
    is_lost = len(seen) > 1 and not any(sight.is_ok for theirs in seen.values() for sight in theirs)
    nothing = Verdict(state="unknown", reasons=("This shield sees nothing of it.",))
    found = dict.fromkeys(addresses, nothing)
    if not is_lost:
        # Agents are not heard here, and their silence is no evidence.
        found |= {s: verdict(Evidence(agent_age_seconds=0.0, sights=theirs)) for s, theirs in seen.items()}
    return found | {own: Verdict(state="up", reasons=("This shield decides.",))}
