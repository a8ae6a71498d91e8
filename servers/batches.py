"""Work for many agents of one account at once: what is asked for while a batch is at work makes up the next one.

There is no timer: what comes to an idle account is worked on at once, alone.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar
from uuid import UUID

from servers.gateway import in_database_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_MAX = 100


class Batches(Generic[Item, Result]):
    """Calls `work`(account id, items) in a database thread; it returns one result per item, in their order.

    Batches hold items of one account only, and of each account one is at work at a time.
    """

    def __init__(self, work: Callable[[UUID, Sequence[Item]], Sequence[Result]]) -> None:
        self._work = work
        self._waiting: defaultdict[UUID, list[tuple[Item, asyncio.Future[Result]]]] = defaultdict(list)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def __call__(self, account_id: UUID, item: Item) -> Result:
        """Return the result of `item`, or raise what `work` raises for it alone."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[account_id].append((item, future))
        if (task := self._tasks.get(account_id)) is None or task.done():
            # In a context of its own: what is logged is not about the agent that came first.
            self._tasks[account_id] = asyncio.create_task(self._run(account_id), context=Context())
        return await future

    async def _run(self, account_id: UUID) -> None:
        waiting, batch = self._waiting[account_id], []
        try:
            while waiting:
                # Who went away meanwhile is not worked for.
                batch = [(item, future) for item, future in waiting[:BATCH_MAX] if not future.done()]
                del waiting[:BATCH_MAX]
                if batch:
                    await self._resolve(account_id, batch)
        finally:
            del self._tasks[account_id], self._waiting[account_id]
            for _, future in (*batch, *waiting):
                future.cancel()

    async def _resolve(self, account_id: UUID, batch: Sequence[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        """Work on a batch; if that fails, on each item alone, so that none fails for another's sake."""
        try:
            results = await in_database_thread(self._work)(account_id, [item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._resolve(account_id, [one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
