"""Batches for the control plane, counted exactly once.

One file holds the baselines (what of each worker's counters is in batches), the position in the event log, and the
batches that are not acknowledged. It is replaced in one rename, so a kill at any moment neither loses nor doubles;
only of how long answers took the last seconds are lost then.
While enough batches wait, none is added: the counters stay in HAProxy, the events in their files.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lumos_agent import protocol
from lumos_agent.config import write_atomically
from lumos_agent.counters import FIELDS, ZERO, Counts, Workers
from lumos_agent.eventlog import EventLog, Position
from lumos_agent.forward_counts import Readings, difference, kept

log = logging.getLogger(__name__)

WAITING_MAX = 20
TRAFFIC_SECONDS = 5.0
DRAIN_SECONDS_MAX = 3.0
HOUR_SECONDS = 3600


class Spool(Struct, kw_only=True):
    """The content of the file."""

    boot_id: str
    next_seq: int = 1
    hour: int = 0
    baselines: dict[str, dict[str, Counts]] = {}
    position: Position = Position()
    forwarded: Readings = {}
    waiting: list[protocol.Batch] = []


class Metrics:
    """Turns counters and events into batches."""

    def __init__(self, path: Path, workers: Workers, events: EventLog) -> None:
        self._path = path
        self._workers = workers
        self._events = events
        self._spool = _load(path)
        self._traffic_at = 0.0
        self._attacks: list[protocol.Attack] = []
        self.on_events: Callable[[list[protocol.Event]], None] = lambda events: None
        self._forwarded: tuple[protocol.ForwardTraffic, ...] = ()
        self._forwarded_now: Readings = {}

    @property
    def first_waiting(self) -> protocol.Batch | None:
        """The batch to send next."""
        return self._spool.waiting[0] if self._spool.waiting else None

    @property
    def waiting(self) -> int:
        """How many batches are not acknowledged."""
        return len(self._spool.waiting)

    @property
    def boot_id(self) -> str:
        """Identity of the spool."""
        return self._spool.boot_id

    def tell(self, attacks: Iterable[protocol.Attack]) -> None:
        """Put news of attacks into the next batch."""
        self._attacks += attacks

    def forwarded(self, now: Readings, forward_ids: Iterable[str]) -> None:
        """Put what forwards passed on since they were read last into the next batch, unless too many wait."""
        if self._forwarded or self.waiting >= WAITING_MAX:
            return
        hour = int(time.time()) // HOUR_SECONDS * HOUR_SECONDS
        self._forwarded = difference(self._spool.forwarded, now, hour)
        self._forwarded_now = kept(self._spool.forwarded, now, forward_ids)

    def acknowledge(self, ack: protocol.BatchAck) -> None:
        """Forget what the control plane has counted."""
        if ack.boot_id == self._spool.boot_id and any(batch.seq <= ack.seq for batch in self._spool.waiting):
            self._spool.waiting = [batch for batch in self._spool.waiting if batch.seq > ack.seq]
            self._save()

    async def before_reload(self) -> None:
        """Put on disk what the worker that is about to be replaced has counted, and keep a session to it.

        The one before it is given a moment to end, so that generations do not pile up.
        """
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        while self._workers.has_retiring() and time.monotonic() < deadline:
            await self.release()
            await asyncio.sleep(0.01)
        await self._workers.retire()
        await self._workers.read()
        self._batch(must_count=True)

    async def collect(self) -> bool:
        """Read everything once and make a batch if there is something to tell; returns whether one was made."""
        self._events.drain()
        await self._workers.read()
        return await self._count_ended() or self._batch(must_count=False)

    async def release(self) -> bool:
        """Let workers go that were replaced and serve nobody any more; returns whether a batch was made."""
        await self._workers.read_drained()
        return await self._count_ended()

    async def _count_ended(self) -> bool:
        ended = [worker for worker in self._workers.all if worker.is_finished or worker.has_drained()]
        if not ended:
            return False
        made = self._batch(must_count=True)
        alive = {worker.key for worker in self._workers.all if worker not in ended}
        self._spool.baselines = {key: known for key, known in self._spool.baselines.items() if key in alive}
        self._save()
        await self._workers.release(ended)
        return made

    def _batch(self, *, must_count: bool) -> bool:
        now = time.time()
        hour = int(now) // HOUR_SECONDS * HOUR_SECONDS
        is_new_hour = bool(self._spool.hour) and hour != self._spool.hour
        if len(self._spool.waiting) >= WAITING_MAX and not must_count and not is_new_hour:
            return False
        read = self._events.read(self._spool.position, protocol.BATCH_EVENTS_MAX)
        is_due = time.monotonic() - self._traffic_at >= TRAFFIC_SECONDS
        traffic = self._traffic(self._spool.hour or hour) if is_due or must_count or is_new_hour else ()
        self._spool.hour = hour
        if not (traffic or read.events or read.hits or self._events.dropped or self._attacks or self._forwarded):
            return False
        if traffic:
            self._traffic_at = time.monotonic()
            self._spool.baselines |= {worker.key: worker.counts for worker in self._workers.all}
        self._spool.waiting.append(
            protocol.Batch(
                boot_id=self._spool.boot_id,
                seq=self._spool.next_seq,
                at=now,
                traffic=traffic,
                events=tuple(read.events),
                hits=tuple(
                    protocol.RuleHits(rule=rule, hour=at, hits=count) for (rule, at), count in read.hits.items()
                ),
                events_dropped=self._events.dropped,
                attacks=tuple(self._attacks[: protocol.BATCH_ATTACKS_MAX]),
                forwards=self._forwarded,
            )
        )
        if self._forwarded:
            self._spool.forwarded, self._forwarded = self._forwarded_now, ()
        del self._attacks[: protocol.BATCH_ATTACKS_MAX]
        self.on_events(read.events)
        self._spool.next_seq += 1
        self._spool.position = read.position
        self._events.dropped = 0
        self._save()
        self._events.forget(read.position)
        return True

    def _traffic(self, hour: int) -> tuple[protocol.Traffic, ...]:
        """Return what was served since the baselines, attributed to the hour in which it was last looked at."""
        sums: dict[str, list[int]] = {}
        timings = self._workers.take_timings()
        for worker in self._workers.all:
            baseline = self._spool.baselines.get(worker.key, {})
            for domain_id, counts in worker.counts.items():
                known = baseline.get(domain_id, ZERO)
                if counts != known:
                    total = sums.setdefault(domain_id, [0] * len(FIELDS))
                    for index, (now, before) in enumerate(zip(counts, known, strict=True)):
                        total[index] += max(now - before, 0)
        domain_ids = {domain_id for domain_id, counts in sums.items() if any(counts)} | timings.keys()
        return tuple(
            _traffic(domain_id, hour, sums.get(domain_id, ZERO), timings.get(domain_id, {}))
            for domain_id in sorted(domain_ids)
        )

    def _save(self) -> None:
        write_atomically(self._path, msgspec.json.encode(self._spool), durable=False)


def _traffic(domain_id: str, hour: int, counts: Sequence[int], timings: dict[int, int]) -> protocol.Traffic:
    named = dict(zip(FIELDS, counts, strict=True))
    other = named.pop("other")
    answered = other + sum(count for name, count in named.items() if name.startswith("status_"))
    return protocol.Traffic(domain_id=domain_id, hour=hour, timings=dict(timings), requests=answered, **named)


def _load(path: Path) -> Spool:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Spool)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError) as error:
        log.error("spool_unreadable", extra={"error": str(error)})
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".damaged"))
    return Spool(boot_id=str(uuid.uuid4()))
