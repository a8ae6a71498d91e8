"""What an import would do: the difference between an account's configuration and a document. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from domains.config_states import (
    AccountSettings,
    AccountState,
    ChannelState,
    DomainState,
    ServerState,
    TunnelState,
    ZoneState,
)
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.document import (
    ConfigAccount,
    ConfigChannel,
    ConfigDocument,
    ConfigDomain,
    ConfigLists,
    ConfigZone,
)
from lumos_agent.schema import NETWORKS_MAX

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class ServerStep:
    """A server to create (no `before`), change or delete (no `after`)."""

    what: Literal["server"] = "server"
    name: str
    before: ServerState | None
    after: ServerState | None


@dataclass(frozen=True, kw_only=True)
class DomainStep:
    """A domain to create (no `before`), change or delete (no `after`)."""

    what: Literal["domain"] = "domain"
    name: str
    before: DomainState | None
    after: DomainState | None


@dataclass(frozen=True, kw_only=True)
class ZoneStep:
    """A zone to create (no `before`), change or delete (no `after`)."""

    what: Literal["zone"] = "zone"
    name: str
    before: ZoneState | None
    after: ZoneState | None


@dataclass(frozen=True, kw_only=True)
class TunnelStep:
    """A tunnel to create (no `before`) or delete (no `after`)."""

    what: Literal["tunnel"] = "tunnel"
    name: str
    before: TunnelState | None
    after: TunnelState | None


@dataclass(frozen=True, kw_only=True)
class ChannelStep:
    """A channel to create (no `before`), change or delete (no `after`)."""

    what: Literal["channel"] = "channel"
    name: str
    before: ChannelState | None
    after: ChannelState | None


@dataclass(frozen=True, kw_only=True)
class AccountStep:
    """A change of what holds for all domains."""

    what: Literal["account"] = "account"
    name: str = "all domains"
    before: AccountSettings
    after: AccountSettings


Step = AccountStep | TunnelStep | ServerStep | DomainStep | ZoneStep | ChannelStep


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of an import by name; `account` is None if nothing changes there."""

    account: AccountStep | None = None
    servers: Sequence[ServerStep]
    domains: Sequence[DomainStep]
    zones: Sequence[ZoneStep] = ()
    tunnels: Sequence[TunnelStep] = ()
    channels: Sequence[ChannelStep] = ()

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """Return {create, change, delete}: lists of {what, name, fields: {field: [before, after]}}."""
        found: dict[str, list[dict[str, Any]]] = {"create": [], "change": [], "delete": []}
        account = [] if self.account is None else [self.account]
        steps: list[Step] = [*account, *self.tunnels, *self.servers, *self.domains, *self.zones, *self.channels]
        for step in steps:
            kind = "create" if step.before is None else "delete" if step.after is None else "change"
            found[kind].append({"what": step.what, "name": step.name, "fields": changed_fields(step)})
        return found

    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        sections = (self.tunnels, self.servers, self.domains, self.zones, self.channels)
        return not (self.account or any(sections))

    def digest(self) -> str:
        """Return a name for exactly this plan."""
        return hashlib.sha256(msgspec.json.encode(self.shown(), order="deterministic")).hexdigest()


def changed_fields(step: Step) -> dict[str, list[Any]]:
    """Return {field: [before, after]}; fields of nested parts have dotted names. Nothing for what is deleted."""
    if step.after is None:
        return {}
    old, new = _facts(step.before), _facts(step.after)
    return {name: [old.get(name), new.get(name)] for name in {**old, **new} if old.get(name) != new.get(name)}


def _facts(state: object | None) -> dict[str, Any]:
    if state is None:
        return {}
    plain = {
        name: msgspec.to_builtins(value) for name, value in vars(state).items() if name not in ("name", "hostname")
    }
    result: dict[str, Any] = {}
    for name, value in plain.items():
        result |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return result


def plan(current: AccountState, wanted: ConfigDocument, *, prune: bool) -> Plan:
    """Return what makes `current` as `wanted` says; with `prune` what a named section lacks is deleted.

    Raises:
        InvalidInput: a domain names a server that will not exist, or a new one has no origins; `field` is the place.
        Conflict: a domain would keep a server that is deleted.
        LimitReached: the lists would be too long.
    """
    servers = _completed(current.servers, wanted.servers or (), ServerState, "name")
    domains = _completed(current.domains, wanted.domains or (), DomainState, "hostname")
    gone_servers = _gone(current.servers, servers) if prune and wanted.servers is not UNSET else []
    gone_domains = _gone(current.domains, domains) if prune and wanted.domains is not UNSET else []
    names = ({**current.servers, **servers}).keys() - set(gone_servers)
    after = {name: state for name, state in {**current.domains, **domains}.items() if name not in set(gone_domains)}
    _check_given(wanted.domains or (), current, names)
    settings = _settings(current.settings, wanted)
    _check_kept(after, names, settings.lists)
    zones = _completed(current.zones, wanted.zones or (), ZoneState, "name")
    gone_zones = _gone(current.zones, zones) if prune and wanted.zones is not UNSET else []
    _check_zones(wanted.zones or (), {**current.zones, **zones}, set(gone_zones), names)
    tunnels = _completed(current.tunnels, wanted.tunnels or (), TunnelState, "name")
    gone_tunnels = _gone(current.tunnels, tunnels) if prune and wanted.tunnels is not UNSET else []
    channels = _completed(current.channels, wanted.channels or (), ChannelState, "name")
    gone_channels = _gone(current.channels, channels) if prune and wanted.channels is not UNSET else []
    _check_channels(wanted.channels or (), current.channels)
    return Plan(
        account=None if settings == current.settings else AccountStep(before=current.settings, after=settings),
        servers=[
            ServerStep(name=n, before=b, after=a) for n, b, a in _differing(current.servers, servers, gone_servers)
        ],
        domains=[
            DomainStep(name=n, before=b, after=a) for n, b, a in _differing(current.domains, domains, gone_domains)
        ],
        zones=[ZoneStep(name=n, before=b, after=a) for n, b, a in _differing(current.zones, zones, gone_zones)],
        tunnels=[
            TunnelStep(name=n, before=b, after=a) for n, b, a in _differing(current.tunnels, tunnels, gone_tunnels)
        ],
        channels=[
            ChannelStep(name=n, before=b, after=a) for n, b, a in _differing(current.channels, channels, gone_channels)
        ],
    )


def _settings(current: AccountSettings, wanted: ConfigDocument) -> AccountSettings:
    given = wanted.account or ConfigAccount()
    stated = {name: value for name in given.__struct_fields__ if (value := getattr(given, name)) is not UNSET}
    return replace(current, **stated)


def _completed(current: Mapping[str, Any], given: Sequence[Any], state: type[Any], key: str) -> dict[str, Any]:
    """Return {name: state}; what the document does not name comes from the present state or is the default."""
    result = {}
    for part in given:
        name = getattr(part, key)
        before = current.get(name)
        stated = {f.name: v for f in fields(state) if (v := getattr(part, f.name)) is not UNSET}
        result[name] = state(**{**(vars(before) if before else {}), **stated})
    return result


def _gone(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [name for name in current if name not in wanted]


def _differing(
    current: Mapping[str, Any], wanted: Mapping[str, Any], gone: Sequence[str]
) -> list[tuple[str, Any, Any]]:
    found = [(name, current.get(name), state) for name, state in wanted.items() if current.get(name) != state]
    return sorted(found + [(name, current[name], None) for name in gone], key=lambda step: step[0])


def _check_given(given: Sequence[ConfigDomain], current: AccountState, names: set[str]) -> None:
    for index, domain in enumerate(given):
        if domain.origins is UNSET and domain.hostname not in current.domains:
            raise InvalidInput(
                f"{domain.hostname} is new and needs at least one origin: address and port of your web server.",
                field=f"domains[{index}].origins",
            )
        for position, name in enumerate(domain.servers or ()):
            if name not in names:
                raise InvalidInput(
                    f"There is no server “{name}”; add it to “servers” of the document or correct the name.",
                    field=f"domains[{index}].servers[{position}]",
                )


def _check_zones(given: Sequence[ConfigZone], after: Mapping[str, ZoneState], gone: set[str], names: set[str]) -> None:
    for index, zone in enumerate(given):
        unknown = {*after[zone.name].servers, *(r.server for r in after[zone.name].records if r.server)} - names
        if unknown:
            raise InvalidInput(
                f"There is no server “{min(unknown)}”; add it to “servers” of the document or correct the name.",
                field=f"zones[{index}].servers",
            )
        if not after[zone.name].servers:
            raise InvalidInput(f"{zone.name} is new and needs a server.", field=f"zones[{index}].servers")
    left = [name for name, zone in after.items() if name not in gone and not names.issuperset(zone.servers)]
    if left:
        raise Conflict(f"Servers to delete serve the zone {left[0]}; name its servers in the document too.")


def _check_channels(given: Sequence[ConfigChannel], current: Mapping[str, ChannelState]) -> None:
    for index, channel in enumerate(given):
        before = current.get(channel.name)
        if before is None and channel.kind is UNSET:
            raise InvalidInput(f"{channel.name} is new and needs a kind.", field=f"channels[{index}].kind")
        if before is not None and channel.kind not in (UNSET, before.kind):
            raise InvalidInput(
                f"{channel.name} is of the kind {before.kind}, which cannot change; give the new channel another name.",
                field=f"channels[{index}].kind",
            )


def _check_kept(after: Mapping[str, DomainState], names: set[str], shared: ConfigLists) -> None:
    left = [domain.hostname for domain in after.values() if not names.issuperset(domain.servers)]
    if left:
        shown = ", ".join(left[:SHOWN]) + ("…" if len(left) > SHOWN else "")
        raise Conflict(f"Servers to delete carry {shown}; name the servers of these domains in the document too.")
    lists = [shared, *(domain.lists for domain in after.values())]
    entries = sum(len(part.allow) + len(part.deny) for part in lists)
    if entries > NETWORKS_MAX:
        raise LimitReached(f"The lists would hold {entries} entries; an account may have {NETWORKS_MAX}.")
