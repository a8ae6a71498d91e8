"""Tunnels as a snapshot has them, and their addresses: rows in, parts out."""

from collections.abc import Iterable
from typing import Any

from domains.models import Origin
from lumos_agent.tunnel import Interface, Peer, Tunnels
from servers.models import Server
from servers.tunnel_addresses import USUAL, inside, origin_address, shield_address
from servers.tunnel_models import Tunnel, TunnelNetwork, TunnelShield


def network() -> TunnelNetwork:
    """Return the account's network; before the first tunnel one that holds no origin's address, not saved yet."""
    row: TunnelNetwork | None = TunnelNetwork.objects.first()
    if row is not None:
        return row
    used = list(Origin.objects.values_list("address", flat=True))
    free = next((str(one) for one in USUAL if not inside(str(one), used)), str(USUAL[0]))
    return TunnelNetwork(network=free)


def tunnels_parts(servers: Iterable[Server]) -> dict[Any, Tunnels]:
    """Return {server id: its end with all origins that have joined}; nothing while the account has no tunnels."""
    ends = list(TunnelShield.objects.filter(server__in=servers))
    if not ends:
        return {}
    plan, joined = network(), list(Tunnel.objects.exclude(public_key="").order_by("name"))
    return {end.server_id: _part(end, plan, joined) for end in ends}


def _part(end: TunnelShield, plan: TunnelNetwork, joined: Iterable[Tunnel]) -> Tunnels:
    peers = [
        Peer(
            tunnel_id=str(tunnel.pk),
            name=tunnel.name,
            address=origin_address(plan.network, end.place, tunnel.place),
            keys=(tunnel.public_key, *filter(None, [tunnel.next_public_key])),
        )
        for tunnel in joined
    ]
    return Tunnels(
        address=shield_address(plan.network, end.place),
        network=plan.network,
        mtu=plan.mtu,
        interfaces=tuple(Interface(number=n, port=end.port_of(n)) for n in end.key_numbers),
        peers=tuple(peers),
    )


def shield_addresses() -> list[str]:
    """Return the addresses of all shields inside the tunnels."""
    plan = network()
    return [shield_address(plan.network, place) for place in TunnelShield.objects.values_list("place", flat=True)]
