"""Batches of work for the agents of one account."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from servers import batches
from servers.batches import Batches

ALICE, MALLORY = uuid.uuid4(), uuid.uuid4()


class Work:
    """Doubles numbers, holds batches with a number in `slow` up until it is let go, and fails at negative ones."""

    def __init__(self) -> None:
        self.batches: list[tuple[uuid.UUID, list[int]]] = []
        self.started, self.go_on = threading.Event(), threading.Event()
        self.slow: set[int] = set()

    def __call__(self, account_id: uuid.UUID, items: Sequence[int]) -> list[int]:
        self.batches.append((account_id, list(items)))
        if self.slow.intersection(items):
            self.started.set()
            assert self.go_on.wait(20)
        if any(item < 0 for item in items):
            raise ValueError(min(items))
        return [2 * item for item in items]


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.go_on.set()


async def busy(work: Work, batch: Callable[..., Any]) -> "asyncio.Task[int]":
    """Let a batch with 0 be at work."""
    work.slow = {0}
    first = asyncio.create_task(batch(ALICE, 0))
    assert await asyncio.to_thread(work.started.wait, 20)
    return first


async def test_one_item_is_worked_on_at_once(work: Work) -> None:
    batch = Batches(work)
    assert [await batch(ALICE, 1), await batch(ALICE, 2)] == [2, 4]
    assert work.batches == [(ALICE, [1]), (ALICE, [2])]


async def test_what_comes_meanwhile_makes_up_the_next_batch(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_MAX", 3)
    batch = Batches(work)
    first = await busy(work, batch)
    others = asyncio.gather(*(batch(ALICE, number) for number in range(1, 6)))
    await asyncio.sleep(0)
    work.go_on.set()
    assert [await first, *(await others)] == [0, 2, 4, 6, 8, 10]
    assert [items for _, items in work.batches] == [[0], [1, 2, 3], [4, 5]]


async def test_accounts_never_share_a_batch(work: Work) -> None:
    batch = Batches(work)
    first = await busy(work, batch)
    found = asyncio.gather(batch(ALICE, 1), batch(MALLORY, 2), batch(ALICE, 3), batch(MALLORY, 4))
    await asyncio.sleep(0)
    work.go_on.set()
    assert list(await found) == [2, 4, 6, 8]
    await first
    for account_id, items in work.batches:
        assert set(items) <= ({0, 1, 3} if account_id == ALICE else {2, 4})


async def test_one_that_fails_fails_alone(work: Work) -> None:
    batch = Batches(work)
    first = await busy(work, batch)
    found = asyncio.gather(*(batch(ALICE, number) for number in (1, -2, 3)), return_exceptions=True)
    await asyncio.sleep(0)
    work.go_on.set()
    one, two, three = await found
    assert (one, three) == (2, 6)
    assert isinstance(two, ValueError)
    assert await first == 0
    with pytest.raises(ValueError, match="-1"):
        await batch(ALICE, -1)


async def test_who_went_away_disturbs_nobody_and_leaves_nothing(work: Work) -> None:
    batch = Batches(work)
    first = await busy(work, batch)
    early, late = (asyncio.create_task(batch(ALICE, number)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    early.cancel()
    await asyncio.sleep(0)
    work.go_on.set()
    assert await late == 4
    assert [items for _, items in work.batches] == [[0], [2]]
    await asyncio.sleep(0)
    assert not batch._waiting
    assert not batch._tasks


async def test_nobody_waits_for_ever_when_the_work_is_cancelled(work: Work) -> None:
    batch = Batches(work)
    waiters = [await busy(work, batch), asyncio.create_task(batch(ALICE, 1))]
    await asyncio.sleep(0)
    batch._tasks[ALICE].cancel()
    async with asyncio.timeout(20):
        ended = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    work.go_on.set()
    assert await batch(ALICE, 5) == 10
