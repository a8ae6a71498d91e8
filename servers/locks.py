"""The order in which servers are locked."""

from collections.abc import Iterable
from typing import Any

from servers.models import Server


def locked_servers(server_ids: Iterable[Any]) -> dict[Any, Server]:
    """Lock servers of the account in scope for the caller's transaction; returns {pk: row} of those that exist.

    Whoever writes rows of several servers comes here first: two that lock in order of pk cannot deadlock. What agents
    tell of themselves, `facts` and `health`, is read only when it is asked for.
    """
    rows = Server.objects.select_for_update(no_key=True).filter(pk__in=set(server_ids)).order_by("pk")
    return {row.pk: row for row in rows.defer("facts", "health")}
