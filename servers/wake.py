"""Wake-ups after commit: to the gateways (a server changed) and to browsers (a page is stale).

Rows are the truth. A wake-up that is lost costs the gateway one sweep and the browser one refresh interval, so a dead
Redis is logged and never an error of the change.
"""

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

GATEWAYS = "gateways"


def browser_group(account_id: uuid.UUID) -> str:
    """Return the group that the open pages of one account listen to."""
    return f"pages.{account_id}"


async def send(group: str, message: dict[str, Any]) -> None:
    """Send one wake-up; never raises for a dead Redis."""
    layer = get_channel_layer()
    try:
        await layer.group_send(group, message)
    except (RedisError, OSError) as error:
        log.warning("wake_lost", extra={"group": group, "error": str(error)})


def gateways_on_commit(kind: str, server_ids: Iterable[uuid.UUID]) -> None:
    """Tell every gateway process, after commit, that these servers changed (`kind`: wake,
    challenges, peers, errand or disconnect)."""
    ids = [str(server_id) for server_id in server_ids]
    if ids:
        message = {"type": "gateway.message", "kind": kind, "servers": ids}
        transaction.on_commit(lambda: async_to_sync(send)(GATEWAYS, message))


def pages_on_commit(account_id: uuid.UUID, topic: str) -> None:
    """Tell the open pages of one account, after commit, that `topic` (servers, events, metrics) changed."""
    message = {"type": "page.stale", "topic": topic}
    transaction.on_commit(lambda: async_to_sync(send)(browser_group(account_id), message))
