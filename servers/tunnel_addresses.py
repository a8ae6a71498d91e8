"""Addresses inside tunnels: which shield and which origin has which. Pure.

The account's network has one subnet per shield, 64 in all. In each, the first address is the shield's and every origin
has the same place, so that no two of an account can collide whatever is added or removed.
"""

import ipaddress
from collections.abc import Iterable

from lumos.errors import InvalidInput
from lumos_agent.tunnel import PEERS_MAX

SHIELDS_MAX = 64
_SUBNET_BITS = 6
_FIRST_ORIGIN = 2
USUAL = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(97, 112))
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
_PREFIX_MIN, _PREFIX_MAX = 10, 20


def canonical_network(text: str) -> str:
    """Return a network that tunnels may use.

    Raises:
        InvalidInput: not private, or of a size that makes no sense.
    """
    try:
        network = ipaddress.IPv4Network(text.strip(), strict=False)
    except ValueError as error:
        raise InvalidInput("Enter a private IPv4 network such as 10.97.0.0/16.", field="network") from error
    if not any(network.subnet_of(private) for private in _PRIVATE):
        raise InvalidInput(f"{network} is not private; enter a network such as 10.97.0.0/16.", field="network")
    if not _PREFIX_MIN <= network.prefixlen <= _PREFIX_MAX:
        raise InvalidInput(f"Choose a size from /{_PREFIX_MIN} to /{_PREFIX_MAX}; /16 is usual.", field="network")
    return str(network)


def origins_max(network: str) -> int:
    """Return how many origins fit."""
    return min(_subnet_size(network) - _FIRST_ORIGIN - 1, PEERS_MAX)


def shield_address(network: str, shield: int) -> str:
    """Return the address of the shield in place `shield` (0 to 63)."""
    return str(_subnet(network, shield) + 1)


def origin_address(network: str, shield: int, origin: int) -> str:
    """Return the address that the shield in place `shield` has for the origin in place `origin` (from 0)."""
    return str(_subnet(network, shield) + _FIRST_ORIGIN + origin)


def _subnet_size(network: str) -> int:
    return int(ipaddress.IPv4Network(network).num_addresses) >> _SUBNET_BITS


def _subnet(network: str, shield: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Network(network).network_address + shield * _subnet_size(network)


def first_free(taken: Iterable[int]) -> int:
    """Return the lowest place that nobody has."""
    held = set(taken)
    return next(place for place in range(len(held) + 1) if place not in held)


def inside(network: str, addresses: Iterable[str]) -> list[str]:
    """Return those of `addresses` (hostnames too) that are IP addresses in `network`."""
    found = []
    for address in addresses:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            continue
        if ip in ipaddress.IPv4Network(network):
            found.append(address)
    return found
