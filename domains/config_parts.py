"""Canonical values of the document's parts that are not about domains: what servers, tunnels and channels say."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from domains.authorities import checked_authority
from lumos.errors import AppError, InvalidInput
from lumos.net import checked_url
from lumos_agent.document import (
    ConfigAccount,
    ConfigAuthority,
    ConfigChannel,
    ConfigForward,
    ConfigSubscription,
    ConfigTunnel,
    ConfigTunnelNetwork,
)
from servers.forwards import canonical_target
from servers.tunnel_addresses import canonical_network
from servers.tunnels import MTU_MAX, MTU_MIN


def at(place: str, call: Callable[..., Any], *args: Any) -> Any:
    """Return what `call` returns, and name the place in its refusal."""
    try:
        return call(*args)
    except AppError as error:
        raise InvalidInput(error.detail, field=place) from error


def canonical_forwards(given: Sequence[ConfigForward], place: str) -> tuple[ConfigForward, ...]:
    """Return forwards by protocol and port.

    Raises:
        InvalidInput: a target cannot be one, or a port is passed on twice.
    """
    found: dict[tuple[str, int], ConfigForward] = {}
    for index, forward in enumerate(given):
        target = at(f"{place}[{index}].target", canonical_target, forward.target, forward.protocol)
        if (key := (forward.protocol, forward.port)) in found:
            detail = f"{forward.protocol.upper()} port {forward.port} is passed on twice; keep one of the two."
            raise InvalidInput(detail, field=f"{place}[{index}].port")
        found[key] = msgspec.structs.replace(forward, name=forward.name.strip(), target=target)
    return tuple(found[key] for key in sorted(found))


def canonical_subscriptions(given: Sequence[ConfigSubscription], place: str) -> tuple[ConfigSubscription, ...]:
    """Return subscriptions by kind and URL.

    Raises:
        InvalidInput: a URL may not be fetched, or is there twice.
    """
    found: dict[tuple[str, str], ConfigSubscription] = {}
    for index, one in enumerate(given):
        clean = msgspec.structs.replace(one, url=one.url.strip())
        at(f"{place}[{index}].url", checked_url, clean.url)
        if (clean.kind, clean.url) in found:
            raise InvalidInput("This list is followed twice; keep one of the two.", field=f"{place}[{index}].url")
        found[clean.kind, clean.url] = clean
    return tuple(found[key] for key in sorted(found))


def account_parts(given: ConfigAccount) -> dict[str, Any]:
    """Return the canonical parts of the account that are no lists of addresses."""
    values: dict[str, Any] = {"own_channel": given.own_channel}
    if given.subscriptions is not UNSET:
        values["subscriptions"] = canonical_subscriptions(given.subscriptions, "account.subscriptions")
    if given.certificate_authority is not UNSET:
        values["certificate_authority"] = given.certificate_authority and _authority(given.certificate_authority)
    if given.tunnel_network is not UNSET:
        values["tunnel_network"] = _tunnel_network(given.tunnel_network)
    return values


def _authority(given: ConfigAuthority) -> ConfigAuthority:
    at("account.certificate_authority", checked_authority, given.directory_url, given.email, given.external_key_id)
    return given


def _tunnel_network(given: ConfigTunnelNetwork) -> ConfigTunnelNetwork:
    if not MTU_MIN <= given.mtu <= MTU_MAX:
        detail = f"Choose an MTU from {MTU_MIN} to {MTU_MAX} bytes; 1420 is usual."
        raise InvalidInput(detail, field="account.tunnel_network.mtu")
    network = at("account.tunnel_network.network", canonical_network, given.network)
    return ConfigTunnelNetwork(network=network, mtu=given.mtu)


def canonical_tunnels(given: Iterable[ConfigTunnel] | UnsetType) -> tuple[ConfigTunnel, ...] | UnsetType:
    """Return tunnels by name."""
    if given is UNSET:
        return UNSET
    return tuple(ConfigTunnel(name=tunnel.name.strip().lower()) for tunnel in given)


def canonical_channels(given: Iterable[ConfigChannel] | UnsetType) -> tuple[ConfigChannel, ...] | UnsetType:
    """Return channels with names and targets as services keep them."""
    if given is UNSET:
        return UNSET
    return tuple(
        msgspec.structs.replace(
            channel,
            name=channel.name.strip(),
            target=UNSET if channel.target is UNSET else channel.target.strip(),
        )
        for channel in given
    )
