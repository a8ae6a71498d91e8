"""The WAF's bans in the kernel: who went over a rate whose action is ban is not even heard for an hour."""

import asyncio
import ipaddress
import logging
from collections.abc import Iterable

from lumos_agent import protocol
from lumos_agent.drivers.nftables import Nftables
from lumos_agent.errors import AgentError
from lumos_agent.schema import Snapshot, canonical_network
from lumos_agent.spared import spared

log = logging.getLogger(__name__)

WAITING_MAX = 10_000


def offenders(events: Iterable[protocol.Event], snapshot: Snapshot) -> set[str]:
    """Return the networks of clients (IPv4 address, IPv6 /64) that events show over a rate whose action is ban.

    Whom the kernel spares is never among them, nor is an address that no visitor of a public site can have.
    """
    banning = {(d.id, f"rate:{rule.id}") for d in snapshot.domains for rule in d.guard.rates if rule.action == "ban"}
    if not banning:
        return set()
    limited = (event for event in events if event.action == "limit")
    clients = {e.client for e in limited if any((e.domain_id, rule) in banning for rule in e.rules)}
    networks = {network for client in clients if (network := _network(client)) is not None}
    if not networks:
        return set()
    kept = [ipaddress.ip_network(text) for text in spared(snapshot)]
    return {str(n) for n in networks if not any(n.version == s.version and n.overlaps(s) for s in kept)}


def _network(client: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return None
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return None
    return ipaddress.ip_network(canonical_network(f"{client}/{32 if address.version == 4 else 64}"))


class Bans:
    """Hands offenders to the kernel; `told` may be called from anywhere in the loop."""

    def __init__(self, kernel: Nftables) -> None:
        self._kernel = kernel
        self._waiting: set[str] = set()
        self._are_some = asyncio.Event()

    def told(self, events: list[protocol.Event], snapshot: Snapshot | None) -> None:
        """Take the offenders of a batch."""
        if snapshot is not None and snapshot.flood.bans and len(self._waiting) < WAITING_MAX:
            self._waiting |= offenders(events, snapshot)
            if self._waiting:
                self._are_some.set()

    async def run(self) -> None:
        """Ban for ever."""
        while True:
            await self._are_some.wait()
            self._are_some.clear()
            chosen, self._waiting = sorted(self._waiting), set()
            try:
                await self._kernel.ban(chosen)
                log.info("banned_in_the_kernel", extra={"networks": chosen[:100], "count": len(chosen)})
            except AgentError as error:
                log.error("not_banned_in_the_kernel", extra={"error": str(error)[:2000]})
