"""Whether a domain is under attack: a pure verdict over what it served between two looks.

Each domain is compared with its own recent normal: the mean of its requests per second over the last quarter of an
hour, learned while it is calm. What is far above that for some seconds is an attack, what is near it again for some
minutes is the end of one; in between nothing changes, so that an attack in waves is one attack.
"""

import math
from typing import Literal

from msgspec import Struct, structs

Reason = Literal["requests", "errors", "challenges"]

MEMORY_SECONDS = 900.0
# Before a domain was watched for this long, nobody knows what is normal there.
LEARNING_SECONDS = 600.0
JUMP = 5.0
# Fewer requests per second than this overload nothing, however quiet a site is.
JUMP_FLOOR = 20.0
# Errors and challenges are signs only beside more requests than usual: an origin that is down is no attack.
SIGN_JUMP = 2.0
SIGN_FLOOR = 5.0
SIGN_SHARE = 0.5
HOT_SECONDS = 5.0
HOT_LOOKS = 2
# A calm second takes half a hot one back: one burst is forgotten, short ones without end add up.
COOLING = 0.5
ON_SECONDS = 300.0
CALM_SECONDS = 180.0
CALM_JUMP = 2.0
# If most of what comes passes the check, these are people, and many of them are the new normal.
CROWD_SHARE = 0.2
# Where nobody is checked, what lasts this long is taken for normal.
ACCEPTED_SECONDS = 3600.0


class Sample(Struct, frozen=True, kw_only=True):
    """What a domain served within `seconds`.

    `errors` are answers 4xx and 5xx of origins, `stopped` requests that were denied for any reason, `challenged` those
    of them that were sent to the bot check.
    """

    seconds: float
    requests: int = 0
    errors: int = 0
    stopped: int = 0
    challenged: int = 0


class Evidence(Struct, frozen=True, kw_only=True):
    """An attack that goes on: since when (Unix seconds), why, and numbers per second when it was noticed."""

    began: float
    reason: Reason
    requests: float
    normal: float
    errors: float
    challenged: float
    peak: float


class Watch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a domain: requests per second that are normal, over how many seconds that was learned, for how
    long it was hot of late, for how long it has been calm in an attack without a break, and the attack that goes on.
    """

    normal: float = 0.0
    learned: float = 0.0
    hot: float = 0.0
    hot_looks: int = 0
    calm: float = 0.0
    attack: Evidence | None = None


def sign(watch: Watch, sample: Sample) -> Reason | None:
    """Return what speaks for an attack right now, if anything does."""
    if watch.learned < LEARNING_SECONDS:
        return None
    rate = sample.requests / sample.seconds
    if rate >= max(JUMP_FLOOR, JUMP * watch.normal):
        return "requests"
    if rate < SIGN_JUMP * watch.normal:
        return None
    signs: tuple[tuple[Reason, int], ...] = (("challenges", sample.challenged), ("errors", sample.errors))
    for reason, count in signs:
        if count >= max(SIGN_FLOOR * sample.seconds, SIGN_SHARE * sample.requests):
            return reason
    return None


def after(watch: Watch, sample: Sample, now: float, *, is_checked: bool) -> Watch:
    """Return what is known after one more look. `is_checked`: an attack makes every visitor pass the bot check."""
    if watch.attack is not None:
        return _in_attack(watch, watch.attack, sample, now, is_checked=is_checked)
    reason = sign(watch, sample)
    if reason is None:
        return _learned(watch, sample)
    hot, looks = watch.hot + sample.seconds, watch.hot_looks + 1
    if hot < HOT_SECONDS or looks < HOT_LOOKS:
        return structs.replace(watch, hot=hot, hot_looks=looks)
    rate = sample.requests / sample.seconds
    evidence = Evidence(
        began=now - hot,
        reason=reason,
        requests=rate,
        normal=watch.normal,
        errors=sample.errors / sample.seconds,
        challenged=sample.challenged / sample.seconds,
        peak=rate,
    )
    return Watch(normal=watch.normal, learned=watch.learned, attack=evidence)


def _learned(watch: Watch, sample: Sample) -> Watch:
    """Return calm knowledge: a plain mean at first, later one that forgets."""
    learned = watch.learned + sample.seconds
    share = max(sample.seconds / learned, 1 - math.exp(-sample.seconds / MEMORY_SECONDS))
    normal = watch.normal + share * (sample.requests / sample.seconds - watch.normal)
    hot = max(watch.hot - COOLING * sample.seconds, 0.0)
    looks = watch.hot_looks if hot else 0
    return Watch(normal=normal, learned=min(learned, MEMORY_SECONDS), hot=hot, hot_looks=looks)


def _in_attack(watch: Watch, attack: Evidence, sample: Sample, now: float, *, is_checked: bool) -> Watch:
    rate = sample.requests / sample.seconds
    attack = structs.replace(attack, peak=max(attack.peak, rate))
    lasted = now - attack.began
    is_quiet = rate < max(JUMP_FLOOR, CALM_JUMP * watch.normal) and sign(watch, sample) is None
    is_crowd = sample.stopped < CROWD_SHARE * sample.requests and (is_checked or lasted >= ACCEPTED_SECONDS)
    calm = watch.calm + sample.seconds if is_quiet or is_crowd else 0.0
    if calm < CALM_SECONDS or lasted < ON_SECONDS:
        return structs.replace(watch, calm=calm, attack=attack)
    return Watch(normal=watch.normal if is_quiet else rate, learned=watch.learned)
