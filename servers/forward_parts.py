"""Rows -> what the kernel and the forwards of a server do: pure parts of a snapshot."""

import ipaddress
from typing import Any

from lumos_agent.flood import FloodLimits
from lumos_agent.forward import Forward as ForwardPart
from servers.forward_models import Forward
from servers.models import Server

PART_FIELDS = tuple(name for name in ForwardPart.__struct_fields__ if name != "id")
FLOOD_FIELDS = ("connections", "new_per_second", "bans")


def forward_parts(server: Server) -> tuple[ForwardPart, ...]:
    """Return what a server passes on, sorted by protocol and port."""
    rows = Forward.objects.filter(server=server, enabled=True).order_by("protocol", "port")
    return tuple(ForwardPart(id=str(values.pop("pk")), **values) for values in rows.values("pk", *PART_FIELDS))


def flood_settings(server: Server) -> dict[str, Any]:
    """Return {field: value}."""
    return {name: getattr(server, f"flood_{name}") for name in FLOOD_FIELDS}


def flood_part(server: Server) -> FloodLimits:
    """Return what the kernel of a server does; the account's servers are spared, because they probe each other."""
    part = FloodLimits(**flood_settings(server))
    if not part.is_on():
        return FloodLimits()
    pairs = Server.objects.values_list("public_ipv4", "public_ipv6")
    addresses = {address for pair in pairs for address in pair if address}
    return FloodLimits(**flood_settings(server), spared=tuple(sorted(str(ipaddress.ip_network(a)) for a in addresses)))
