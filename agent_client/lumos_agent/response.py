"""What a shield does by itself about attacks: notice, check every visitor, tell, and return to normal."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from lumos_agent.apply import Applier
from lumos_agent.challenged import Challenged, challenged_in
from lumos_agent.counters import Workers
from lumos_agent.escalation import Escalation
from lumos_agent.eventlog import EventLog
from lumos_agent.metrics import Metrics
from lumos_agent.schema import Snapshot


class AttackResponse:
    """Looks at what was served and changes what is served. The caller keeps others from collecting meanwhile.

    `suspect` is given the requests that were challenged.
    """

    def __init__(
        self,
        path: Path,
        applier: Applier,
        workers: Workers,
        events: EventLog,
        metrics: Metrics,
        suspect: Callable[[Iterable[Challenged]], None],
    ) -> None:
        self._escalation = Escalation(path)
        self._applier = applier
        self._workers = workers
        self._events = events
        self._metrics = metrics
        self._suspect = suspect
        self._served = self._escalation.attacked
        self._checks: tuple[Snapshot | None, dict[str, bool]] = None, {}
        applier.use_attacked(self._served)

    def _checks_of(self, snapshot: Snapshot) -> dict[str, bool]:
        """Return {domain id: whether an attack makes every visitor pass the bot check}."""
        if self._checks[0] is not snapshot:
            checks = {domain.id: domain.guard.bot_check.escalation == "auto" for domain in snapshot.domains}
            self._checks = snapshot, checks
        return self._checks[1]

    async def look(self, *, clock: float | None = None, now: float | None = None) -> None:
        """Look once; times as in `Escalation`.

        Raises:
            AgentError, OSError: the answer to an attack is not served; the next look tries again.
        """
        challenged = list(challenged_in(self._events.fresh()))
        self._suspect(challenged)
        if (snapshot := self._applier.snapshot()) is None:
            return
        checks = self._checks_of(snapshot)
        news = self._escalation.look(
            self._workers.all,
            Counter(request.domain_id for request in challenged),
            checks,
            clock=time.monotonic() if clock is None else clock,
            now=time.time() if now is None else now,
        )
        self._metrics.tell(news)
        attacked = frozenset(domain_id for domain_id in self._escalation.attacked if checks.get(domain_id))
        if attacked != self._served:
            self._applier.use_attacked(attacked)
            await self._applier.refresh()
            self._served = attacked
