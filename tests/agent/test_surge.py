"""When all counters are worth reading before their time."""

import asyncio

import pytest

from lumos_agent.surge import Surge
from tests.agent.builders import Shield, config, domain
from tests.agent.test_bot_check import crowd
from tests.agent.visitor import origin


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([100] * 60 + [400], True),
        ([100] * 60 + [140], False),
        ([1] * 60 + [40], False),
        ([100 + n for n in range(60)], False),
        ([5000] * 60 + [6000], False),
    ],
)
def test_jumps(rates: list[int], expected: bool) -> None:
    surge, total = Surge(), 0
    assert not surge.is_one(0, 0.0)
    for second, rate in enumerate(rates, start=1):
        total += rate
        found = surge.is_one(total, float(second))
    assert found is expected
    assert not surge.is_one(0, 1000.0)  # another worker


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_flood_ends_the_wait(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(1, port=port)))
        await shield.workers.attach()
        surge = Surge()
        waiting = asyncio.create_task(surge.wait(shield.workers, 3600))
        async with asyncio.timeout(60):
            while surge._mean is None:
                await asyncio.sleep(0.1)
            while not waiting.done():
                await crowd(shield.port, 400, 0)
                await asyncio.sleep(0.5)
        await waiting
