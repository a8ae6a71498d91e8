"""WireGuard between a shield and origins: the part of the snapshot, and how an origin's address names a tunnel.

Both ends can be told of a new key before the old one ends: a shield that changes its key has two interfaces for a
while, told apart by the number of the key, an origin that changes its key has two keys. The one that was shaken hands
with last is in use.
"""

import re
from typing import Annotated

from msgspec import Meta, Struct

from lumos_agent.grammar import Id, Port

SUFFIX = ".tunnel"
PEERS_MAX = 1021
KEEPALIVE_SECONDS = 25
ALIVE_SECONDS = 180  # a pair that talks shakes hands every two minutes
MTU_DEFAULT = 1420

TunnelName = Annotated[str, Meta(pattern=r"\A(?!-)[a-z0-9-]{1,40}(?<!-)\Z")]
# 32 bytes in base64.
PublicKey = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\Z")]
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
Ipv4 = Annotated[str, Meta(pattern=rf"\A(?:{_OCTET}\.){{3}}{_OCTET}\Z")]
Ipv4Range = Annotated[str, Meta(pattern=rf"\A(?:{_OCTET}\.){{3}}{_OCTET}/[0-9]{{1,2}}\Z")]
KeyNumber = Annotated[int, Meta(ge=1, le=2**31)]


class Peer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An origin: its address in the tunnel, and its key; the newest last while it changes."""

    tunnel_id: Id
    name: TunnelName
    address: Ipv4
    keys: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=2)]


class Interface(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One key of the shield's own and the UDP port where it listens; the agent makes the key that has `number`."""

    number: KeyNumber
    port: Port


class Tunnels(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A shield's end. `network` is the account's range: origins in it hear from shields, never from each other."""

    address: Ipv4
    network: Ipv4Range
    mtu: Annotated[int, Meta(ge=1280, le=9000)] = MTU_DEFAULT
    interfaces: Annotated[tuple[Interface, ...], Meta(min_length=1, max_length=2)]
    peers: Annotated[tuple[Peer, ...], Meta(max_length=PEERS_MAX)] = ()

    def __post_init__(self) -> None:
        addresses = [self.address, *(peer.address for peer in self.peers)]
        keys = [key for peer in self.peers for key in peer.keys]
        if len(set(addresses)) != len(addresses) or len(set(keys)) != len(keys):
            raise ValueError("two ends of the tunnels have the same address or key")
        if len({interface.number % 2 for interface in self.interfaces}) != len(self.interfaces):
            raise ValueError("the numbers of a shield's two keys follow one another")


OWN_NAME = re.compile(r"lumos-[0-9a-f]{6}-[01]")


def interface_name(server_id: str, number: int) -> str:
    """Return the name of the interface with a key: unique per shield, two in turn (at most 15 characters)."""
    return f"lumos-{server_id[:6]}-{number % 2}"
