"""Which shields a domain's name answers: pure, decided by the control plane and by shields that have lost it.

Never answer with nothing; no change while the present set passes, but the way home after the hold-down.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lumos_agent.grammar import Address, Id, Served
from lumos_agent.verdict import State

MEMBERS_MAX = 100
HOLD_DOWN_SECONDS = 120
GAP_SECONDS = 60

Seconds = Annotated[int, Meta(ge=0, le=86_400)]
Cause = Literal["none", "first", "failed", "returned", "person", "drill"]


class Member(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A shield with the addresses that visitors reach it by."""

    server: Id
    addresses: Annotated[tuple[Address, ...], Meta(max_length=8)]


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How one domain fails over.

    `ordered` answers the first member that serves, `all` every one. A member that was down comes back when it has
    served for `hold_down_seconds`, and not within `gap_seconds` of the last change. `preferred` is a person's manual
    switch: the member that is first. `is_held` keeps what is answered, `drilled` is taken for down. `answered` is the
    present decision.
    """

    domain: Id
    hostname: Served
    mode: Literal["ordered", "all"] = "ordered"
    members: Annotated[tuple[Member, ...], Meta(max_length=MEMBERS_MAX)]
    hold_down_seconds: Seconds = HOLD_DOWN_SECONDS
    gap_seconds: Seconds = GAP_SECONDS
    preferred: Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\Z")] = ""
    is_held: bool = False
    drilled: Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\Z")] = ""
    answered: Annotated[tuple[Id, ...], Meta(max_length=MEMBERS_MAX)] = ()


class Health(Struct, frozen=True, kw_only=True):
    """How a shield does, and for how long it has served without a break (0 while it does not)."""

    state: State
    serves_seconds: float = 0.0
    down_addresses: frozenset[str] = frozenset()


class Decision(Struct, frozen=True, kw_only=True):
    """What should be answered; `cause` "none" means that nothing changes, and `reason` then says what waits for what.

    `wait_seconds` is after how long the same evidence would decide otherwise; None if it would not.
    """

    answered: tuple[str, ...]
    cause: Cause
    reason: str
    wait_seconds: float | None = None


_UNKNOWN = Health(state="unknown")


class _View:
    """One look at a rule's members."""

    def __init__(self, rule: Rule, health: Mapping[str, Health]) -> None:
        self.rule = rule
        self.order = [member.server for member in rule.members]
        if rule.preferred in self.order:
            self.order.sort(key=lambda server: server != rule.preferred)
        self.present = tuple(server for server in self.order if server in rule.answered)
        self._health = health

    def fails(self, server: str) -> bool:
        return server == self.rule.drilled or self._health.get(server, _UNKNOWN).state == "down"

    def serves(self, server: str) -> bool:
        return not self.fails(server) and self._health.get(server, _UNKNOWN).state != "unknown"

    def waits(self, server: str) -> float:
        """Return for how long a member that is not answered has to serve before it may be."""
        return max(self.rule.hold_down_seconds - self._health.get(server, _UNKNOWN).serves_seconds, 0.0)


def decide(rule: Rule, health: Mapping[str, Health], since_change: float | None) -> Decision:
    """Return what `rule` answers now; `since_change` is how many seconds ago that changed last, None for never."""
    view = _View(rule, health)
    if not view.present:
        return _first(view)
    if rule.is_held:
        return Decision(answered=view.present, cause="none", reason="Held by a person.")
    alive = tuple(server for server in view.present if not view.fails(server))
    if len(alive) < len(view.present):
        return _without_failed(view, alive)
    return _with_returned(view, since_change)


def _first(view: _View) -> Decision:
    """Decide without a past: whoever is not known to fail, in order; if all fail, the first of the order."""
    hopeful = [server for server in view.order if not view.fails(server)] or view.order
    answered = tuple(hopeful if view.rule.mode == "all" else hopeful[:1])
    return Decision(answered=answered, cause="first", reason="The first answer of this domain.")


def _without_failed(view: _View, alive: tuple[str, ...]) -> Decision:
    """Leave out who fails. If nobody of the present set is left, whoever serves, the longest waiting rule first."""
    failed = [server for server in view.present if server not in alive]
    cause: Cause = "drill" if view.rule.drilled in failed else "failed"
    word = "is drilled" if cause == "drill" else "is down"
    if alive:
        return Decision(answered=alive, cause=cause, reason=f"{_names(failed)} {word}.")
    others = [server for server in view.order if view.serves(server)]
    if not others:
        reason = f"{_names(failed)} {word}, and nobody else serves: the last answer stays."
        return Decision(answered=view.present, cause="none", reason=reason)
    steady = [server for server in others if not view.waits(server)] or others
    answered = tuple(steady if view.rule.mode == "all" else steady[:1])
    return Decision(answered=answered, cause=cause, reason=f"{_names(failed)} {word}.")


def _with_returned(view: _View, since_change: float | None) -> Decision:
    """Let members come (back): in `ordered` one that stands before the present one, in `all` any."""
    unchanged = Decision(answered=view.present, cause="none", reason="What is answered serves.")
    wanted = [server for server in view.order if server not in view.present and view.serves(server)]
    if view.rule.mode == "ordered":
        place = view.order.index(view.present[0])
        wanted = [server for server in wanted if view.order.index(server) < place]
        if len(view.present) > 1 and not wanted:
            return Decision(answered=view.present[:1], cause="person", reason="One shield is answered at a time.")
    if not wanted:
        return unchanged
    preferred = view.rule.preferred
    gap = 0.0 if since_change is None else max(view.rule.gap_seconds - since_change, 0.0)
    waits = {server: max(view.waits(server), 0.0 if server == preferred else gap) for server in wanted}
    if preferred in wanted and not waits[preferred]:
        reason = f"A person chose {_names([preferred])}."
        return Decision(answered=_joined(view, [preferred]), cause="person", reason=reason)
    if ready := [server for server in wanted if not waits[server]]:
        reason = f"{_names(ready)} served for {view.rule.hold_down_seconds} s."
        return Decision(answered=_joined(view, ready), cause="returned", reason=reason)
    soonest = min(waits, key=lambda server: waits[server])
    reason = f"{_names([soonest])} comes back in {waits[soonest]:.0f} s if it goes on serving."
    return Decision(answered=view.present, cause="none", reason=reason, wait_seconds=waits[soonest])


def _joined(view: _View, joining: list[str]) -> tuple[str, ...]:
    if view.rule.mode == "ordered":
        return (joining[0],)
    return tuple(server for server in view.order if server in view.present or server in joining)


def _names(servers: list[str]) -> str:
    """Return servers as places in a text for people, which `str.format_map` fills in with names."""
    return ", ".join(f"{{{server}}}" for server in servers)


def named(reason: str, names: Mapping[str, str]) -> str:
    """Put names in the place of the servers of a reason."""
    for server, name in names.items():
        reason = reason.replace(f"{{{server}}}", name)
    return reason


def addresses(rule: Rule, answered: tuple[str, ...], health: Mapping[str, Health]) -> tuple[str, ...]:
    """Return the addresses to answer: those of `answered` that are not known to be down, unless all of them are."""
    theirs = [(member.server, address) for member in rule.members for address in member.addresses]
    chosen = [(server, address) for server, address in theirs if server in answered]
    living = [address for server, address in chosen if address not in health.get(server, _UNKNOWN).down_addresses]
    return tuple(living or [address for _, address in chosen])
