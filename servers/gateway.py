"""One gateway process: the agents that it holds, woken by messages and by a sweep.

The registry is local. Wake-ups arrive through one channel-layer subscription per process, not one per agent, so that a
dead Redis closes no agent's connection; what a lost wake-up would have said is found by the sweep.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import close_old_connections, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from lumos.alerts import tell_operator
from lumos_agent.protocol import CLOSE_RECONNECT
from servers import wake
from servers.models import GatewayPresence, Server

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

LEASE = timedelta(seconds=45)
PRESENCE_GAP = timedelta(seconds=40)
RENEW_SECONDS = 10.0
SWEEP_SECONDS = 30.0
JOBS_SECONDS = 60.0
RESUBSCRIBE_SECONDS = 2.0

# Several threads, so that one slow query does not hold up every agent; each has its own database connection.
_database_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="gateway-db")


def in_database_thread(call: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return `call` as a coroutine function that runs in one of the gateway's database threads."""

    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        close_old_connections()
        try:
            return call(*args, **kwargs)
        finally:
            close_old_connections()

    return sync_to_async(guarded, thread_sensitive=False, executor=_database_threads)


class Link(Protocol):
    """A connected agent as the gateway sees it."""

    server_id: uuid.UUID
    sent_revision: int

    @property
    def is_alive(self) -> bool:
        """Whether the agent was heard within its deadline."""

    def wake(self) -> None:
        """Compare revisions soon."""

    def wake_challenges(self) -> None:
        """Compare relayed challenges soon."""

    def wake_peers(self) -> None:
        """Compare whom it probes soon."""

    def wake_errand(self) -> None:
        """Compare what root is to do soon."""

    async def close_link(self, code: int) -> None:
        """End the connection."""


class Gateway:
    """The registry and its background tasks, started with the first agent of the process."""

    def __init__(self) -> None:
        self.links: dict[uuid.UUID, Link] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, link: Link) -> Link | None:
        """Register `link`; returns the one it replaces."""
        if not self._tasks or self._tasks[0].done():
            # In a context of their own: what they log is not about the agent that came first.
            self._tasks = [asyncio.create_task(_forever(job), context=Context()) for job in self._jobs()]
        previous = self.links.get(link.server_id)
        self.links[link.server_id] = link
        return previous

    def remove(self, link: Link) -> bool:
        """Forget `link`; False if another connection of the same server took over."""
        if self.links.get(link.server_id) is not link:
            return False
        del self.links[link.server_id]
        return True

    def _jobs(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return self._listen, self._renew, self._sweep, self._look_after_jobs

    async def _look_after_jobs(self) -> None:
        """Tell the operator of jobs that hang: with beat or the workers gone, nobody else would."""
        await asyncio.sleep(JOBS_SECONDS)
        await in_database_thread(tell_operator)()

    async def _listen(self) -> None:
        """Take wake-ups until Redis fails; everything may have changed while nobody listened, so wake all first."""
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(wake.GATEWAYS, channel)
        for link in list(self.links.values()):
            link.wake()
        while True:
            message = await layer.receive(channel)
            for server_id in message["servers"]:
                if (woken := self.links.get(uuid.UUID(server_id))) is not None:
                    await self._handle(message["kind"], woken)

    async def _handle(self, kind: str, link: Link) -> None:
        if kind == "wake":
            link.wake()
        elif kind == "challenges":
            link.wake_challenges()
        elif kind == "peers":
            link.wake_peers()
        elif kind == "errand":
            link.wake_errand()
        else:
            await _let_go(link)

    async def _renew(self) -> None:
        """Renew the presence leases of the agents that were heard, in one statement, and let go of the silent."""
        await asyncio.sleep(RENEW_SECONDS)
        links = list(self.links.values())
        await in_database_thread(renew_leases)([link.server_id for link in links if link.is_alive])
        for link in links:
            if not link.is_alive:
                await _let_go(link)

    async def _sweep(self) -> None:
        """Wake every agent whose wake-up was lost."""
        await asyncio.sleep(SWEEP_SECONDS)
        links = dict(self.links)
        wanted = await in_database_thread(desired_revisions)(list(links))
        for server_id, link in links.items():
            revision = wanted.get(server_id)
            if revision is None:
                await _let_go(link)
            elif revision != link.sent_revision:
                link.wake()


async def _let_go(link: Link) -> None:
    """Close a connection; one that cannot be closed is nobody else's matter."""
    try:
        await link.close_link(CLOSE_RECONNECT)
    except Exception:
        log.exception("agent_not_closed", extra={"agent": str(link.server_id)})


@transaction.atomic
def renew_leases(server_ids: list[uuid.UUID]) -> None:
    """Say that these servers are connected, of all tenants at once; locked in order, as in `servers/locks.py`."""
    now = timezone.now()
    rows = Server.unscoped.select_for_update(no_key=True).filter(pk__in=server_ids).order_by("pk")
    found = list(rows.values_list("pk", flat=True))
    Server.unscoped.filter(pk__in=found).update(last_seen_at=now, lease_until=now + LEASE)
    presence = GatewayPresence.objects.filter(pk=1)
    if presence.filter(seen_at__gt=now - PRESENCE_GAP).update(seen_at=now) == 0:
        GatewayPresence.objects.update_or_create(pk=1, defaults={"since": now, "seen_at": now})


def desired_revisions(server_ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Return {server id: desired revision} of the servers that still exist, of all tenants at once."""
    return dict(Server.unscoped.filter(pk__in=server_ids).values_list("pk", "revision"))


async def _forever(job: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await job()
        except (RedisError, OSError) as error:
            log.warning("gateway_channel_lost", extra={"job": job.__name__, "error": str(error)})
            await asyncio.sleep(RESUBSCRIBE_SECONDS)
        except Exception:
            # The loop of a process that must outlive a database outage.
            log.exception("gateway_job_failed", extra={"job": job.__name__})
            await asyncio.sleep(RESUBSCRIBE_SECONDS)


gateway = Gateway()
