"""Watches every domain of a shield for attacks, with or without a control plane, over restarts of the agent."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from lumos_agent import protocol
from lumos_agent.attack import Evidence, Sample, Watch, after
from lumos_agent.config import write_atomically
from lumos_agent.counters import FIELDS, ZERO, Counts, Worker

log = logging.getLogger(__name__)

SAVED_SECONDS = 30.0
TOLD_SECONDS = 600.0
# Shorter times between two looks say nothing about a rate.
LOOK_SECONDS_MIN = 0.5
_STATUSES = FIELDS.index("status_1xx")
_BLOCKED, _CLIENT_ERRORS, _SERVER_ERRORS = (FIELDS.index(name) for name in ("blocked", "status_4xx", "status_5xx"))


class Watched(Struct, kw_only=True):
    """The content of the file: {domain id: what is known}."""

    domains: dict[str, Watch] = {}


class Escalation:
    """The watches of all domains. Times are seconds: `clock` of a clock that never jumps, `now` Unix time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watches = _load(path)
        self._counts: dict[str, dict[str, Counts]] = {}
        self._stepped: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._looked_at: float | None = None
        self._saved_at = 0.0

    @property
    def attacked(self) -> frozenset[str]:
        """The domains that are under attack."""
        return frozenset(domain_id for domain_id, watch in self._watches.items() if watch.attack is not None)

    def look(
        self,
        workers: Iterable[Worker],
        challenged: Mapping[str, int],
        checks: Mapping[str, bool],
        *,
        clock: float,
        now: float,
    ) -> list[protocol.Attack]:
        """Take in what was served since the last look; returns what is to be told of attacks.

        `challenged`: {domain id: requests} since then; `checks`: {domain id: whether an attack there makes every
        visitor pass the bot check}, of all domains.
        """
        read = {worker.key: worker.counts for worker in workers}
        if self._looked_at is None:
            self._looked_at, self._counts = clock, read
            self._stepped = dict.fromkeys(self._watches, clock)
            return []
        seconds = clock - self._looked_at
        if seconds < LOOK_SECONDS_MIN:
            return []
        served = _served(self._counts, read)
        self._looked_at, self._counts = clock, read
        self._forget(checks)
        news = []
        for domain_id in served.keys() | self._restless():
            if domain_id in checks:
                before = self._watches.get(domain_id, Watch())
                sample = _sample(served.get(domain_id, ZERO), challenged.get(domain_id, 0), seconds)
                self._step(domain_id, sample, clock, now, is_checked=checks[domain_id])
                news += self._news(domain_id, before.attack, clock, now, is_checked=checks[domain_id])
        self._save(clock, must=bool(news))
        return news

    def _restless(self) -> list[str]:
        """Return the domains whose silence means something; for others it is made up for when they speak again."""
        return [domain_id for domain_id, watch in self._watches.items() if watch.attack is not None or watch.hot]

    def _step(self, domain_id: str, sample: Sample, clock: float, now: float, *, is_checked: bool) -> None:
        watch = self._watches.get(domain_id, Watch())
        idle = clock - sample.seconds - self._stepped.get(domain_id, clock - sample.seconds)
        if idle > 0:
            watch = after(watch, Sample(seconds=idle), now, is_checked=is_checked)
        self._watches[domain_id] = after(watch, sample, now, is_checked=is_checked)
        self._stepped[domain_id] = clock

    def _news(
        self, domain_id: str, before: Evidence | None, clock: float, now: float, *, is_checked: bool
    ) -> list[protocol.Attack]:
        attack = self._watches[domain_id].attack
        if attack is None and before is None:
            return []
        if attack is not None and clock - self._told.get(domain_id, -TOLD_SECONDS) < TOLD_SECONDS:
            return []
        if attack is None:
            self._told.pop(domain_id, None)
        else:
            self._told[domain_id] = clock
        what = "attack_goes_on" if attack and before else "attack_began" if attack else "attack_ended"
        log.warning(what, extra={"domain_id": domain_id})
        known = attack or before
        return [] if known is None else [_told(domain_id, known, 0.0 if attack else now, is_checked=is_checked)]

    def _forget(self, checks: Mapping[str, bool]) -> None:
        for domain_id in [domain_id for domain_id in self._watches if domain_id not in checks]:
            del self._watches[domain_id]
            self._told.pop(domain_id, None)
            self._stepped.pop(domain_id, None)

    def _save(self, clock: float, *, must: bool) -> None:
        if must or clock - self._saved_at >= SAVED_SECONDS:
            self._saved_at = clock
            write_atomically(self._path, msgspec.json.encode(Watched(domains=self._watches)), durable=False)


def _served(before: Mapping[str, Mapping[str, Counts]], read: Mapping[str, Mapping[str, Counts]]) -> dict[str, Counts]:
    """Return {domain id: what all workers counted more}, for domains for which they did."""
    found: dict[str, Counts] = {}
    for key, counts in read.items():
        known = before.get(key, {})
        for domain_id, now in counts.items():
            was = known.get(domain_id, ZERO)
            if now != was:
                more = (max(a - b, 0) + c for a, b, c in zip(now, was, found.get(domain_id, ZERO), strict=True))
                found[domain_id] = tuple(more)
    return found


def _sample(counts: Counts, challenged: int, seconds: float) -> Sample:
    """Return a sample; what was denied was answered with 4xx, but is no error of an origin."""
    return Sample(
        seconds=seconds,
        requests=sum(counts[_STATUSES:]),
        errors=max(counts[_CLIENT_ERRORS] - counts[_BLOCKED], 0) + counts[_SERVER_ERRORS],
        stopped=counts[_BLOCKED],
        challenged=challenged,
    )


def _told(domain_id: str, attack: Evidence, ended: float, *, is_checked: bool) -> protocol.Attack:
    return protocol.Attack(
        domain_id=domain_id,
        began=attack.began,
        ended=ended,
        reason=attack.reason,
        is_checked=is_checked,
        requests_per_second=round(attack.requests, 1),
        normal_per_second=round(attack.normal, 1),
        peak_per_second=round(attack.peak, 1),
        errors_per_second=round(attack.errors, 1),
        challenges_per_second=round(attack.challenged, 1),
    )


def _load(path: Path) -> dict[str, Watch]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Watched).domains
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("watches_unreadable", extra={"error": str(error)})
        return {}
