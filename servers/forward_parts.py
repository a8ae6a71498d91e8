"""Rows -> what the kernel and the forwards of servers do: pure parts of snapshots."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import structs

from lumos_agent.flood import FloodLimits
from lumos_agent.forward import Forward as ForwardPart
from servers.forward_models import Forward
from servers.models import Server

PART_FIELDS = tuple(name for name in ForwardPart.__struct_fields__ if name != "id")
FLOOD_FIELDS = ("connections", "new_per_second", "bans")


def forward_parts(servers: Iterable[Server]) -> Mapping[Any, Sequence[ForwardPart]]:
    """Return {server id: what it passes on, sorted by protocol and port}; nothing for others."""
    rows = Forward.objects.filter(server__in=servers, enabled=True).order_by("protocol", "port")
    found: defaultdict[Any, list[ForwardPart]] = defaultdict(list)
    for values in rows.values("pk", "server_id", *PART_FIELDS):
        found[values.pop("server_id")].append(ForwardPart(id=str(values.pop("pk")), **values))
    return found


def flood_settings(server: Server) -> dict[str, Any]:
    """Return {field: value}."""
    return {name: getattr(server, f"flood_{name}") for name in FLOOD_FIELDS}


def flood_parts(servers: Iterable[Server]) -> dict[Any, FloodLimits]:
    """Return {server id: what its kernel does}, of those where that is anything.

    The account's servers are spared, because they probe each other.
    """
    found = {server.pk: FloodLimits(**flood_settings(server)) for server in servers}
    found = {pk: part for pk, part in found.items() if part.is_on()}
    spared = _addresses() if found else ()
    return {pk: structs.replace(part, spared=spared) for pk, part in found.items()}


def _addresses() -> tuple[str, ...]:
    """Return the public addresses of the account's servers as networks."""
    pairs = Server.objects.values_list("public_ipv4", "public_ipv6")
    addresses = {address for pair in pairs for address in pair if address}
    return tuple(sorted(str(ipaddress.ip_network(address)) for address in addresses))
