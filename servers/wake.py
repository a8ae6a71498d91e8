"""Wake-ups after commit: to the gateways (a server changed) and to browsers (a page is stale).

Rows are the truth. A wake-up that is lost costs the gateway one sweep and the browser one refresh interval, so a dead
Redis is logged and never an error of the change.
"""

import asyncio
import logging
import os
import threading
import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

GATEWAYS = "gateways"
SEND_SECONDS_MAX = 2.0


def browser_group(account_id: uuid.UUID) -> str:
    """Return the group that the open pages of one account listen to."""
    return f"pages.{account_id}"


def publish(group: str, message: dict[str, Any]) -> None:
    """Send one wake-up from a thread; never raises for a dead Redis."""
    sending = asyncio.run_coroutine_threadsafe(get_channel_layer().group_send(group, message), _loop(os.getpid()))
    try:
        sending.result(SEND_SECONDS_MAX)
    except TimeoutError:
        sending.cancel()
        log.warning("wake_lost", extra={"group": group, "error": f"Redis took more than {SEND_SECONDS_MAX} s"})
    except (RedisError, OSError) as error:
        log.warning("wake_lost", extra={"group": group, "error": str(error)})


@lru_cache(maxsize=1)
def _loop(process_id: int) -> asyncio.AbstractEventLoop:
    """Return the event loop that sends for this process, in a thread of its own, over a connection that stays.

    Not the caller's: there a request that is given up, because its visitor went away, would take the wake-up along,
    and the thread that waits for it might wait for ever.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"wake-{process_id}", daemon=True).start()
    return loop


def gateways_on_commit(kind: str, server_ids: Iterable[uuid.UUID]) -> None:
    """Tell every gateway process, after commit, that these servers changed (`kind`: wake,
    challenges, peers, errand or disconnect)."""
    ids = [str(server_id) for server_id in server_ids]
    if ids:
        message = {"type": "gateway.message", "kind": kind, "servers": ids}
        transaction.on_commit(lambda: publish(GATEWAYS, message))


def pages_on_commit(account_id: uuid.UUID, topic: str) -> None:
    """Tell the open pages of one account, after commit, that `topic` (servers, events, metrics) changed."""
    message = {"type": "page.stale", "topic": topic}
    transaction.on_commit(lambda: publish(browser_group(account_id), message))
