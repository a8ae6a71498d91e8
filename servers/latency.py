"""How long visitors waited for origins: percentiles of a time, from counts in buckets that add up.

Shields measure until the headers of an origin's answer; under full load they measure a sample. A percentile is placed
inside its bucket as if the answers there were spread evenly, so it is wrong by less than the width of the bucket.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from lumos_agent.timings import BOUNDS_MS
from servers.analytics import Series, Span, sums_of
from servers.metric_models import Counters

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
Percentiles = dict[str, float | None]
_LONGEST_MS = 2.0 * BOUNDS_MS[-1]
_EDGES_MS = (0.0, *map(float, BOUNDS_MS), _LONGEST_MS)


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds by the names of `PERCENTILES`, of the whole time and of each point of the series.

    They are None where nothing was measured; `measured` is how many answers they stand for.
    """

    measured: int
    whole: Percentiles
    points: list[Percentiles]


def percentile(buckets: Sequence[int], share: float) -> float | None:
    """Return the time in milliseconds that this share of answers took at most; None if there are none.

    `buckets` are counts in the order of `BOUNDS_MS`, then of what took longer.
    """
    wanted, before = share * sum(buckets), 0
    for place, answers in enumerate(buckets):
        if answers and before + answers >= wanted:
            low, high = _EDGES_MS[place], _EDGES_MS[place + 1]
            return round(low + (high - low) * (wanted - before) / answers, 1)
        before += answers
    return None


def served_and_waited(
    span: Span, *, domain: uuid.UUID | None = None, server: uuid.UUID | None = None
) -> tuple[Series, Latency]:
    """Return counts and percentiles of the account in scope, of one domain, one server or one domain on one server."""
    names = (*Counters.COUNTERS, *Counters.RARE)
    points = [[0] * len(names) for _ in span.points]
    for place, sums in sums_of(names, span, domain=domain, server=server):
        points[place] = [before + more for before, more in zip(points[place], sums, strict=True)]
    counted = len(Counters.COUNTERS)
    counts = {name: [sums[place] for sums in points] for place, name in enumerate(Counters.COUNTERS)}
    buckets = [sums[counted:] for sums in points]
    whole = [sum(of_bucket) for of_bucket in zip(*buckets, strict=True)] if buckets else []
    waited = Latency(sum(whole), _percentiles(whole), [_percentiles(one) for one in buckets])
    return Series(span, span.points, counts), waited


def _percentiles(buckets: Sequence[int]) -> Percentiles:
    return {name: percentile(buckets, share) for name, share in PERCENTILES.items()}
