"""What an import would do: the difference between an account's configuration and a document. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, NamedTuple, TypeVar

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


State = TypeVar("State")


@dataclass(frozen=True, kw_only=True)
class Step(Generic[State]):
    """A thing to create (no `before`), change or delete (no `after`). `what` it is, is one of `SECTIONS`."""

    what: str
    name: str
    before: State | None
    after: State | None


class Section(NamedTuple):
    """A part of the document that lists things of one kind by their names."""

    what: str
    state: type[Any]
    key: str = "name"


# In the order in which people read a plan.
SECTIONS: Mapping[str, Section] = {
    "tunnels": Section("tunnel", TunnelState),
    "servers": Section("server", ServerState),
    "domains": Section("domain", DomainState, "hostname"),
    "zones": Section("zone", ZoneState),
    "channels": Section("channel", ChannelState),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of an import by name; `account` is None if nothing changes there."""

    account: Step[AccountSettings] | None = None
    servers: Sequence[Step[ServerState]]
    domains: Sequence[Step[DomainState]]
    zones: Sequence[Step[ZoneState]] = ()
    tunnels: Sequence[Step[TunnelState]] = ()
    channels: Sequence[Step[ChannelState]] = ()

    def _steps(self) -> list[Step[Any]]:
        account = [] if self.account is None else [self.account]
        return [*account, *(step for section in SECTIONS for step in getattr(self, section))]

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """Return {create, change, delete}: lists of {what, name, fields: {field: [before, after]}}."""
        found: dict[str, list[dict[str, Any]]] = {"create": [], "change": [], "delete": []}
        for step in self._steps():
            kind = "create" if step.before is None else "delete" if step.after is None else "change"
            found[kind].append({"what": step.what, "name": step.name, "fields": changed_fields(step)})
        return found

    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self._steps()

    def digest(self) -> str:
        """Return a name for exactly this plan."""
        return hashlib.sha256(msgspec.json.encode(self.shown(), order="deterministic")).hexdigest()


def changed_fields(step: Step[Any]) -> dict[str, list[Any]]:
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
    steps: dict[str, list[Step[Any]]] = {}
    after: dict[str, dict[str, Any]] = {}
    for section, (what, state, key) in SECTIONS.items():
        given, present = getattr(wanted, section), getattr(current, section)
        stated = _completed(present, given or (), state, key)
        gone = present.keys() - stated.keys() if prune and given is not UNSET else set()
        after[section] = {name: one for name, one in {**present, **stated}.items() if name not in gone}
        steps[section] = list(_differing(what, present, after[section]))
    names, settings = set(after["servers"]), _settings(current.settings, wanted)
    _check_given(wanted.domains or (), current, names)
    _check_kept(after["domains"], names, settings.lists)
    _check_zones(wanted.zones or (), after["zones"], names)
    _check_channels(wanted.channels or (), current.channels)
    is_new = settings != current.settings
    account = Step(what="account", name="all domains", before=current.settings, after=settings) if is_new else None
    return Plan(account=account, **steps)


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


def _differing(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Step[Any]]:
    """Yield the steps from one state to another, by name."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Step(what=what, name=name, before=before.get(name), after=after.get(name))


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


def _check_zones(given: Sequence[ConfigZone], after: Mapping[str, ZoneState], names: set[str]) -> None:
    for index, zone in enumerate(given):
        unknown = {*after[zone.name].servers, *(r.server for r in after[zone.name].records if r.server)} - names
        if unknown:
            raise InvalidInput(
                f"There is no server “{min(unknown)}”; add it to “servers” of the document or correct the name.",
                field=f"zones[{index}].servers",
            )
        if not after[zone.name].servers:
            raise InvalidInput(f"{zone.name} is new and needs a server.", field=f"zones[{index}].servers")
    left = [name for name, zone in after.items() if not names.issuperset(zone.servers)]
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
