"""Who probes whom: each shield its successors in the ring of the account's shields, so that the effort is bounded."""

from bisect import bisect_left
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from django.db.models import Q, QuerySet

from lumos.secrets import Secret
from lumos_agent import protocol
from lumos_agent.probes import new_key
from servers import wake
from servers.models import ProbeKey, Server

_HAS_ADDRESS = Q(public_ipv4__isnull=False) | Q(public_ipv6__isnull=False)
PROBED = _HAS_ADDRESS & Q(facts__probe_port__gt=0, decommissioned_at=None)


def addresses_of(server: Server) -> tuple[str, ...]:
    """Return the public addresses of a shield, IPv4 first."""
    return tuple(filter(None, (server.public_ipv4, server.public_ipv6)))


def _ring(server_id: Any) -> list[Server]:
    """Return the shields after one, at most as many as an agent probes."""
    rows: QuerySet[Server] = Server.objects.filter(PROBED).order_by("pk")
    found = list(rows.filter(pk__gt=server_id)[: protocol.PROBED_MAX])
    return found + list(rows.filter(pk__lt=server_id)[: protocol.PROBED_MAX - len(found)])


@lru_cache(maxsize=20_000)
def _revealed(token: str) -> str:
    return Secret(token).reveal()


def keys_of(server_ids: Iterable[Any]) -> dict[Any, str]:
    """Return {server id: probe key} of servers of the account; who has none gets one."""
    wanted = set(server_ids)
    known = set(ProbeKey.objects.filter(server__in=wanted).values_list("server_id", flat=True))
    accounts = Server.objects.filter(pk__in=wanted - known).values_list("pk", "account_id")
    new: list[ProbeKey] = []
    for pk, account_id in accounts:
        key: Any = Secret.of(new_key())
        new.append(ProbeKey(server_id=pk, account_id=account_id, key=key))
    ProbeKey.objects.bulk_create(new, ignore_conflicts=True)
    return revealed(ProbeKey.objects.filter(server__in=wanted))


def revealed(rows: Iterable[ProbeKey]) -> dict[Any, str]:
    """Return {server id: probe key}."""
    return {row.server_id: _revealed(row.key.token) for row in rows}


def peers_of(server_id: Any) -> protocol.Peers:
    """Return with what a shield answers probes and whom it probes."""
    ring = _ring(server_id)
    keys = keys_of([server_id, *(server.pk for server in ring)])
    return protocol.Peers(
        key=keys.get(server_id, ""),
        peers=tuple(
            protocol.Peer(
                server_id=str(server.pk),
                addresses=addresses_of(server),
                port=server.facts["probe_port"],
                key=keys[server.pk],
            )
            for server in ring
            if server.pk in keys
        ),
    )


def tell_neighbours(server_ids: Collection[Any]) -> None:
    """Let those who probe these shields, and these themselves, learn after commit what changed."""
    if not server_ids:
        return
    ring = list(Server.objects.filter(PROBED).order_by("pk").values_list("pk", flat=True))
    before = {
        ring[place - back]
        for place in (bisect_left(ring, server_id) for server_id in server_ids)
        for back in range(1, min(protocol.PROBED_MAX, len(ring)) + 1)
    }
    wake.gateways_on_commit("peers", sorted({*server_ids, *before}))
