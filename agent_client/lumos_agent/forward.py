"""Ports of a shield that are passed on as they are: TCP through HAProxy, UDP through the kernel's NAT."""

import ipaddress
from typing import Annotated, Literal

from msgspec import Meta

from lumos_agent.grammar import Address, Id, Port
from lumos_agent.traffic import Setting

FORWARDS_MAX = 200
# What a shield itself answers, and what its owner needs to reach it.
RESERVED = {22: "SSH", 53: "DNS", 80: "HTTP", 443: "HTTPS", 51820: "tunnels", 51821: "tunnels"}

IdleSeconds = Annotated[int, Meta(ge=10, le=86_400)]
Limit = Annotated[int, Meta(ge=0, le=1_000_000)]


class Forward(Setting, frozen=True, kw_only=True):
    """What arrives at `port` of the shield goes to `target_port` of `target`, and the answers go back.

    A session that is silent for `idle_seconds` is forgotten. A client address (IPv6: /64) may have `connections` TCP
    connections at once, or send `packets_per_second` UDP packets; 0 is no limit. `proxy_protocol` tells the target of a
    TCP forward who the client is; a UDP target is an IP address and sees the shield's.
    """

    id: Id
    protocol: Literal["tcp", "udp"]
    port: Port
    target: Address
    target_port: Port
    idle_seconds: IdleSeconds = 300
    connections: Limit = 0
    packets_per_second: Limit = 0
    proxy_protocol: Literal["off", "v1", "v2"] = "off"

    def __post_init__(self) -> None:
        if self.port in RESERVED:
            raise ValueError(f"port {self.port} is the shield's own ({RESERVED[self.port]})")
        if self.protocol == "tcp" and self.packets_per_second:
            raise ValueError("packets are limited for UDP only")
        if self.protocol == "udp":
            if self.connections or self.proxy_protocol != "off":
                raise ValueError("connections and the PROXY protocol are TCP's")
            ipaddress.ip_address(self.target)
