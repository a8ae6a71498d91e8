"""The document of an account (shapes: `lumos_agent.document`): bytes in, canonical values out, and back.

Mistakes are named by their place, such as domains[3].origins[0].address.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from domains import traffic
from domains.config_parts import (
    account_parts,
    canonical_channels,
    canonical_forwards,
    canonical_subscriptions,
    canonical_tunnels,
)
from domains.rdata import canonical_zone
from domains.services import SERVERS_MAX, OriginData, canonical_origins
from domains.validators import canonical_served
from domains.zone_rules import RecordData
from domains.zones import canonical_record
from lumos.errors import AppError, InvalidInput
from lumos_agent.document import (
    DOCUMENT_BYTES_MAX,
    VERSION,
    ConfigAccount,
    ConfigDocument,
    ConfigDomain,
    ConfigExclusion,
    ConfigListEntry,
    ConfigLists,
    ConfigOrigin,
    ConfigPolicy,
    ConfigRecord,
    ConfigScript,
    ConfigServer,
    ConfigZone,
)
from waf.custom_rules import canonical_expression, canonical_limit
from waf.entries import canonical_entry
from waf.exclusions import canonical_exclusion
from waf.guards import canonical_guard
from waf.rules import canonical_groups
from waf.scripts import canonical_script


def encoded(document: ConfigDocument) -> bytes:
    """Return the document as people download it; equal documents give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def parsed(data: bytes) -> ConfigDocument:
    """Return a document with all values in canonical form; what it does not name stays unset.

    Raises:
        InvalidInput: `field` is the place.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise InvalidInput(
            f"The document has {len(data)} bytes, the limit is {DOCUMENT_BYTES_MAX}; import its domains in parts."
        )
    try:
        return canonical(msgspec.json.decode(data, type=ConfigDocument))
    except msgspec.ValidationError as error:
        raise _refusal(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"This is no JSON document: {error}. Use a file that the export has written.") from error
    except RecursionError as error:
        raise InvalidInput("The document is nested too deeply; use a file that the export has written.") from error


def _refusal(error: msgspec.ValidationError) -> InvalidInput:
    found = traffic.refusal(error)
    if found.field == "version":
        return InvalidInput(f"Only version {VERSION} of the document is known here; export it anew.", field="version")
    return InvalidInput(found.detail, field=found.field or None)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name the place in a refusal from inside."""
    try:
        yield
    except AppError as error:
        inner = "" if error.field in (None, "hostname", "network") else f".{error.field}"
        raise InvalidInput(error.detail, field=place + inner) from error


def canonical(document: ConfigDocument) -> ConfigDocument:
    """Return the document with canonical values.

    Raises:
        InvalidInput: `field` is the place.
    """
    servers: tuple[ConfigServer, ...] | UnsetType = UNSET
    domains: tuple[ConfigDomain, ...] | UnsetType = UNSET
    if document.servers is not UNSET:
        servers = tuple(_server(given, f"servers[{index}]") for index, given in enumerate(document.servers))
        _refuse_twice([server.name for server in servers], "servers[{}].name")
    if document.domains is not UNSET:
        domains = tuple(_domain(given, f"domains[{index}]") for index, given in enumerate(document.domains))
        _refuse_twice([domain.hostname for domain in domains], "domains[{}].hostname")
    zones: tuple[ConfigZone, ...] | UnsetType = UNSET
    if document.zones is not UNSET:
        zones = tuple(_zone(given, f"zones[{index}]") for index, given in enumerate(document.zones))
        _refuse_twice([zone.name for zone in zones], "zones[{}].name")
    tunnels, channels = canonical_tunnels(document.tunnels), canonical_channels(document.channels)
    _refuse_twice([tunnel.name for tunnel in tunnels or ()], "tunnels[{}].name")
    _refuse_twice([channel.name for channel in channels or ()], "channels[{}].name")
    return ConfigDocument(
        version=document.version,
        account=UNSET if document.account is UNSET else _account(document.account),
        tunnels=tunnels,
        servers=servers,
        domains=domains,
        zones=zones,
        channels=channels,
    )


def _account(given: ConfigAccount) -> ConfigAccount:
    lists = _lists(given.lists, "account.lists")
    return ConfigAccount(under_attack=given.under_attack, lists=lists, **account_parts(given))


def _lists(given: ConfigLists | UnsetType, place: str) -> ConfigLists | UnsetType:
    if given is UNSET:
        return UNSET
    allow, deny = (_entries(getattr(given, kind), f"{place}.{kind}") for kind in ("allow", "deny"))
    return ConfigLists(allow=allow, deny=deny)


def _refuse_twice(names: Sequence[str], place: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise InvalidInput(f"“{name}” is named twice; keep one of the two.", field=place.format(index))
        seen.add(name)


def _zone(given: ConfigZone, place: str) -> ConfigZone:
    with _at(place):
        name = canonical_zone(given.name)
    servers = UNSET if given.servers is UNSET else _server_names(given.servers, f"{place}.servers")
    if given.records is UNSET:
        return ConfigZone(name=name, servers=servers, dnssec=given.dnssec)
    records = []
    for index, record in enumerate(given.records):
        with _at(f"{place}.records[{index}]"):
            values = msgspec.structs.asdict(record)
            clean = canonical_record(name, RecordData(**{**values, "server": record.server.strip() or None}))
        records.append(ConfigRecord(**{**vars(clean), "server": clean.server or ""}))
    return ConfigZone(name=name, servers=servers, dnssec=given.dnssec, records=in_order(records))


def in_order(records: Iterable[ConfigRecord]) -> tuple[ConfigRecord, ...]:
    """Return records in the order of documents."""
    return tuple(sorted(records, key=msgspec.structs.astuple))


def _server(given: ConfigServer, place: str) -> ConfigServer:
    name = given.name.strip()
    if not name:
        raise InvalidInput("A server needs a name.", field=f"{place}.name")
    values: dict[str, Any] = {"name": name}
    if given.region is not UNSET:
        values["region"] = given.region.strip()
    for field, kind in (("public_ipv4", ipaddress.IPv4Address), ("public_ipv6", ipaddress.IPv6Address)):
        if (address := getattr(given, field)) is not UNSET:
            values[field] = canonical_address(address, kind, f"{place}.{field}")
    if given.forwards is not UNSET:
        values["forwards"] = canonical_forwards(given.forwards, f"{place}.forwards")
    return ConfigServer(**values, flood=given.flood)


def canonical_address(text: str | None, kind: type[Any], place: str = "") -> str | None:
    """Return a server's public address in the form of `ipaddress`, None for none.

    Raises:
        InvalidInput: it is not of this kind.
    """
    try:
        address = kind(text) if text else None
    except ValueError as error:
        raise InvalidInput(f"{error}; enter an address or null.", field=place) from error
    return None if address is None else str(address)


def _domain(given: ConfigDomain, place: str) -> ConfigDomain:
    values: dict[str, Any] = {}
    with _at(f"{place}.hostname"):
        values["hostname"] = canonical_served(given.hostname)
    with _at(place):
        if given.origins is not UNSET:
            clean = canonical_origins([OriginData(**msgspec.structs.asdict(origin)) for origin in given.origins])
            values["origins"] = tuple(ConfigOrigin(**vars(origin)) for origin in clean)
        if given.traffic is not UNSET:
            values["traffic"] = traffic.portable(traffic.merged({}, given.traffic))
    if given.guard is not UNSET:
        with _at(f"{place}.guard"):
            values["guard"] = traffic.plain(canonical_guard(given.guard))
    if given.script is not UNSET:
        with _at(f"{place}.script"):
            part = canonical_script(msgspec.to_builtins(given.script))
        values["script"] = ConfigScript(mode=part.mode, fails=part.fails, source=part.source)
    if given.servers is not UNSET:
        values["servers"] = _server_names(given.servers, f"{place}.servers")
    values["lists"] = _lists(given.lists, f"{place}.lists")
    if given.subscriptions is not UNSET:
        values["subscriptions"] = canonical_subscriptions(given.subscriptions, f"{place}.subscriptions")
    if given.policy is not UNSET:
        values["policy"] = _policy(given.policy, f"{place}.policy")
    values |= {"certificate": given.certificate, "rollout": given.rollout, "failover": given.failover}
    return ConfigDomain(**values)


def _policy(given: ConfigPolicy, place: str) -> ConfigPolicy:
    found: dict[tuple[str, str, str], ConfigExclusion] = {}
    for index, exclusion in enumerate(given.exclusions):
        with _at(f"{place}.exclusions[{index}]"):
            data = canonical_exclusion(**msgspec.structs.asdict(exclusion))
        if data.key in found:
            raise InvalidInput("This exclusion is there twice; keep one.", field=f"{place}.exclusions[{index}]")
        found[data.key] = ConfigExclusion(**data._asdict())
    custom = []
    for index, rule in enumerate(given.custom):
        with _at(f"{place}.custom[{index}]"):
            clean = canonical_expression(rule.expression)
            requests, window = canonical_limit(rule.action, rule.requests, rule.window_seconds)
        changes = {"name": rule.name.strip(), "expression": clean, "requests": requests, "window_seconds": window}
        custom.append(msgspec.structs.replace(rule, **changes))
    with _at(place):
        groups = canonical_groups(given.groups)
    return msgspec.structs.replace(
        given, groups=groups, exclusions=tuple(found[key] for key in sorted(found)), custom=tuple(custom)
    )


def _server_names(given: Sequence[str], place: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given)
    if len(names) > SERVERS_MAX:
        raise InvalidInput(f"{len(names)} servers; a domain has at most {SERVERS_MAX}.", field=place)
    _refuse_twice(names, place + "[{}]")
    return names


def _entries(given: Sequence[ConfigListEntry], place: str) -> tuple[ConfigListEntry, ...]:
    found = []
    for index, entry in enumerate(given):
        with _at(f"{place}[{index}].network"):
            found.append(ConfigListEntry(network=canonical_entry(entry.network), note=entry.note.strip()))
    _refuse_twice([entry.network for entry in found], place + "[{}].network")
    return tuple(sorted(found, key=lambda entry: entry.network))
