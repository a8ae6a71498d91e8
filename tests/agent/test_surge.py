"""When all counters are worth reading, and when they cannot have changed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lumos_agent.counters import FIELDS
from lumos_agent.surge import Surge
from tests.agent.builders import Shield, config, domain
from tests.agent.test_bot_check import crowd
from tests.agent.visitor import get, origin


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


@pytest.mark.integration
async def test_counters_of_a_worker_without_visitors_are_not_read_again(
    shield: Shield, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(1, port=port)))
        worker = await shield.workers.attach()
        sent: list[str] = []
        monkeypatch.setattr(type(worker.session), "commands", _noted(type(worker.session).commands, sent))
        for count in (1, 2):
            async with asyncio.timeout(20):
                while worker._quiet_at == "" or not sent or "show stat -1 2 -1" in sent:
                    sent.clear()
                    await worker.read()
            await worker.read()
            assert "show stat -1 2 -1" not in sent
            await get(shield.port, "d1.example")
            await worker.read()
            assert "show stat -1 2 -1" in sent
            assert worker.counts[domain(1).id][FIELDS.index("status_2xx")] == count


def _noted(commands: Callable[..., Any], sent: list[str]) -> Callable[..., Any]:
    def noted(session: Any, *lines: str) -> Any:
        sent.extend(lines)
        return commands(session, *lines)

    return noted
