"""A cheap sign that it is worth reading all counters now: the whole shield serves far more than a minute ago.

Reading the counters of ten thousand domains takes a third of a second, so it is done seldom there; this asks for one
number.
"""

import asyncio
import contextlib
import math
import time

from lumos_agent.counters import Workers, parse_info
from lumos_agent.errors import HaproxyError

MEMORY_SECONDS = 60.0
JUMP = 1.5
MORE_PER_SECOND = 50.0
LOOK_SECONDS = 1.0


class Surge:
    """Compares the requests per second of a shield with their mean over the last minute."""

    def __init__(self) -> None:
        self._total: int | None = None
        self._at = 0.0
        self._mean: float | None = None

    def is_one(self, total: int, clock: float) -> bool:
        """Take in how many requests a worker has served by a time in seconds; True if that jumped just now."""
        before, seconds = self._total, clock - self._at
        self._total, self._at = total, clock
        if before is None or total < before or seconds <= 0:
            return False
        rate = (total - before) / seconds
        mean = rate if self._mean is None else self._mean
        self._mean = mean + (1 - math.exp(-seconds / MEMORY_SECONDS)) * (rate - mean)
        return rate > max(JUMP * mean, mean + MORE_PER_SECOND)

    async def wait(self, workers: Workers, seconds: float) -> None:
        """Wait, but not longer than until a jump."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            worker = workers.current
            if left > LOOK_SECONDS and worker is not None:
                with contextlib.suppress(HaproxyError, KeyError, ValueError):
                    total = int(parse_info(await worker.session.command("show info"))["CumReq"])
                    if self.is_one(total, time.monotonic()):
                        return
