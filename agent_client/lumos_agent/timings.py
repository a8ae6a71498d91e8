"""How long visitors waited for the headers of an origin's answer, as counts in buckets that add up by domain.

HAProxy tells it in its lines of answers (log-format in haproxy.cfg.j2): the time in queues, to connect and to the
headers, in whole milliseconds. A shield under full load writes a line for one answer in `SAMPLED`, which then counts
for as many. Answers that no origin gave (blocked, cached, aborted) have no such time.
"""

import re
from bisect import bisect_left
from collections import Counter

BOUNDS_MS = (
    1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700,
    1000, 1500, 2000, 3000, 5000, 7000, 10_000, 20_000, 60_000,
)  # fmt: skip
"""A bucket has what took up to its bound and more than the one before; one more, named 0, has all that took longer."""
LONGER = 0
SAMPLED = 64

Timings = dict[str, Counter[int]]
# Nothing of a visitor's stands in front of these words, and blanks of what follows are encoded. No time is -1.
_TIMED = re.compile(rb" d-([0-9a-f-]{36})[^ ]* \d+ \d+ \d+/(\d+/\d+/\d+)/(\d*)")


def bucket_of(milliseconds: int) -> int:
    """Return the bound of the bucket that has this time."""
    place = bisect_left(BOUNDS_MS, milliseconds)
    return BOUNDS_MS[place] if place < len(BOUNDS_MS) else LONGER


def add_timings(log_lines: bytes, timings: Timings) -> None:
    """Add what lines tell to {domain id: {bound of a bucket: answers}}."""
    for (domain, times, each), lines in Counter(_TIMED.findall(log_lines)).items():
        bucket = bucket_of(sum(map(int, times.split(b"/"))))
        timings.setdefault(domain.decode(), Counter())[bucket] += lines * int(each or 1)
