"""What a shield runs beside HAProxy: each daemon behind one Protocol, brought along by every apply (apply.py)."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from lumos_agent.errors import AgentError, ApplyError
from lumos_agent.schema import Snapshot

log = logging.getLogger(__name__)


class Daemon(Protocol):
    """A driver that converges; it needs no journal, because the same call again leads to the same result."""

    name: str

    async def check(self, snapshot: Snapshot) -> None:
        """Find out whether the daemon would take its part of a snapshot; nothing that runs changes.

        Raises:
            ApplyError: it would not; the message has the daemon's own words.
        """

    async def apply(self, snapshot: Snapshot) -> str:
        """Bring the part into service and probe it; returns what changed, "" if nothing did.

        Cheap when nothing differs: it stands between every change and its visitors.

        Raises:
            ApplyError: it is not in service, or in part.
        """

    async def keep(self, snapshot: Snapshot) -> str:
        """Do the same, but rely on nothing that is remembered: called every ten seconds, and when going back."""
        return await self.apply(snapshot)


class Daemons:
    """All daemons but HAProxy, in the order in which they are applied."""

    def __init__(self, daemons: Sequence[Daemon] = ()) -> None:
        self._daemons = daemons

    async def check(self, snapshot: Snapshot) -> None:
        """Ask all of them.

        Raises:
            ApplyError: one would not take it.
        """
        for daemon in self._daemons:
            with _named(daemon):
                await daemon.check(snapshot)

    async def apply(self, snapshot: Snapshot) -> str:
        """Bring all parts into service; returns what changed, for people.

        Raises:
            ApplyError: one could not; the ones before it have changed.
        """
        changed = []
        for daemon in self._daemons:
            with _named(daemon):
                if what := await daemon.apply(snapshot):
                    changed.append(f"{daemon.name}: {what}")
        return "; ".join(changed)

    async def keep(self, snapshot: Snapshot) -> str:
        """Bring each part that is not in service back, whatever becomes of the others; returns what was mended."""
        mended = []
        for daemon in self._daemons:
            try:
                if what := await daemon.keep(snapshot):
                    mended.append(f"{daemon.name}: {what}")
            except (AgentError, OSError) as error:
                log.error("daemon_not_in_service", extra={"daemon": daemon.name, "error": str(error)[-2000:]})
        return "; ".join(mended)


@contextlib.contextmanager
def _named(daemon: Daemon) -> Iterator[None]:
    """Let errors say which daemon they are about."""
    try:
        yield
    except (AgentError, OSError) as error:
        stage = error.stage if isinstance(error, ApplyError) else "switch"
        raise ApplyError(stage, f"{daemon.name}: {error}") from error
