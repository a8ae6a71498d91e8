"""Snapshot -> what `wg syncconf` reads, and the addresses that origins' tunnels stand for. Pure."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import structs

from lumos_agent.schema import Domain
from lumos_agent.traffic import Route, Target
from lumos_agent.tunnel import KEEPALIVE_SECONDS, SUFFIX, Interface, Tunnels

T = TypeVar("T", bound=Target)
Way = tuple[int, str]  # the number of the shield's key and the origin's public key


def interface_conf(
    tunnels: Tunnels, interface: Interface, private_key: str, ways: Mapping[str, Way], endpoints: Mapping[str, str]
) -> str:
    """Return the configuration of one interface (wg(8), configuration file format).

    Args:
        tunnels: the shield's end.
        interface: which of its interfaces.
        private_key: base64.
        ways: {address of an origin: the way that its packets take}; a peer with another key may only shake hands.
        endpoints: {public key: address and port where the peer was last}, for an interface that knows nobody yet.
    """
    lines = ["[Interface]", f"PrivateKey = {private_key}", f"ListenPort = {interface.port}"]
    for peer in tunnels.peers:
        for key in peer.keys:
            lines += ["", "[Peer]", f"PublicKey = {key}", f"PersistentKeepalive = {KEEPALIVE_SECONDS}"]
            if key == ways[peer.address][1]:
                lines.append(f"AllowedIPs = {peer.address}/32")
            if key in endpoints:
                lines.append(f"Endpoint = {endpoints[key]}")
    return "\n".join([*lines, ""])


def with_addresses(domains: tuple[Domain, ...], tunnels: Tunnels | None) -> tuple[Domain, ...]:
    """Return `domains` with the addresses of tunnels in the place of their names; others are the objects they were.

    A tunnel that this shield does not have, because its origin has not joined, stays a name: that origin is disabled.
    """
    if tunnels is None:
        return domains
    addresses = {f"{peer.name}{SUFFIX}": peer.address for peer in tunnels.peers}
    return tuple(_resolved(domain, addresses) for domain in domains)


def _resolved(domain: Domain, addresses: Mapping[str, str]) -> Domain:
    routes = domain.traffic.routes
    targets = [*domain.origins, *(target for route in routes for target in route.origins)]
    if not any(target.address.endswith(SUFFIX) for target in targets):
        return domain
    traffic = structs.replace(domain.traffic, routes=tuple(_route(route, addresses) for route in routes))
    origins = tuple(_target(origin, addresses) for origin in domain.origins)
    return structs.replace(domain, origins=origins, traffic=traffic)


def _route(route: Route, addresses: Mapping[str, str]) -> Route:
    return structs.replace(route, origins=tuple(_target(target, addresses) for target in route.origins))


def _target(target: T, addresses: Mapping[str, str]) -> T:
    return structs.replace(target, address=addresses.get(target.address, target.address))
