"""When going and coming is told: pure, with a table of cases in tests/unit/notifications/test_flapping.py."""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

BACK_FOR = timedelta(seconds=30)
WINDOW = timedelta(hours=1)
FLIPS_MAX = 6
CALM = timedelta(minutes=30)


class Told(enum.Enum):
    """What people are told."""

    DOWN = enum.auto()
    RECOVERED = enum.auto()
    FLAPPING = enum.auto()


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known of a thing; `flips` are the times within `WINDOW` at which it went or came (Unix seconds)."""

    is_down: bool
    since: datetime
    told_down: bool = False
    is_flapping: bool = False
    flips: tuple[float, ...] = ()

    @property
    def is_forgettable(self) -> bool:
        """Whether it is as good as one that was never down."""
        return not (self.is_down or self.told_down or self.is_flapping or self.flips)


def step(state: State, *, is_down: bool, now: datetime) -> tuple[State, Told | None]:
    """Return what is known after a look, and what to tell.

    Down is told at once (who looks has waited), recovery after `BACK_FOR`. With `FLIPS_MAX` changes within `WINDOW` it
    is told once that the thing goes and comes; then nothing until it has stayed the same for `CALM`.
    """
    flips = tuple(at for at in state.flips if at > (now - WINDOW).timestamp())
    if is_down != state.is_down:
        state = replace(state, is_down=is_down, since=now)
        flips = (*flips, now.timestamp())
    state = replace(state, flips=flips)
    if state.is_flapping:
        return _calmed(state, now)
    if len(flips) >= FLIPS_MAX:
        return replace(state, is_flapping=True, told_down=True), Told.FLAPPING
    if is_down and not state.told_down:
        return replace(state, told_down=True), Told.DOWN
    if not is_down and state.told_down and now - state.since >= BACK_FOR:
        return replace(state, told_down=False), Told.RECOVERED
    return state, None


def _calmed(state: State, now: datetime) -> tuple[State, Told | None]:
    if now - state.since < CALM:
        return state, None
    calm = replace(state, is_flapping=False, told_down=state.is_down, flips=())
    return calm, Told.DOWN if state.is_down else Told.RECOVERED
