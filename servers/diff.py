"""What differs between two snapshots, domain by domain. Pure, and led by the schema: a new field shows by itself.

Ids of domains only tell which domain became which; ids of origins are no facts at all.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from domains.traffic import shown
from lumos_agent.forward import Forward
from lumos_agent.schema import ACCOUNT_WIDE, Domain, Snapshot
from lumos_agent.tunnel import Tunnels
from lumos_agent.zone import Zone

ALL_DOMAINS = "all domains"
THIS_SERVER = "this server"


class Site(NamedTuple):
    """A domain with its lists: sorted networks."""

    domain: Domain
    allow: list[str]
    deny: list[str]


_NAMED_IN_FORWARD = {"id", "protocol", "port", "target", "target_port"}
Pair = tuple[Site | None, Site | None]


def sites(snapshot: Snapshot) -> list[Site]:
    """Return the domains of a snapshot, each with its lists."""
    networks = snapshot.networks()
    return [Site(domain, *networks.get(domain.id, ([], []))) for domain in snapshot.domains]


def facts(site: Site) -> dict[str, Any]:
    """Return {field: value} of a site without ids; fields of nested parts have dotted names."""
    return dict(_flat(shown(site.domain))) | {"lists.allow": site.allow, "lists.deny": site.deny}


def _flat(part: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif name != "id":
            yield prefix + name, _without_ids(value)


def _without_ids(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [{k: v for k, v in item.items() if k != "id"} if isinstance(item, dict) else item for item in value]


def pairs(old: Snapshot, new: Snapshot) -> list[Pair]:
    """Return (before, after) of each domain that differs, by hostname; None where it is absent.

    Domains are matched by id, and what is left by hostname: a domain that was removed and added again is the same site.
    """
    were, are = sites(old), sites(new)
    before = {site.domain.id: site for site in were}
    same_id = {site.domain.id for site in are}
    left = {site.domain.hostname: site for site in were if site.domain.id not in same_id}
    found: list[Pair] = [(before.get(s.domain.id) or left.pop(s.domain.hostname, None), s) for s in are]
    found += [(site, None) for site in left.values()]
    different = [(a, b) for a, b in found if a != b and (a is None or b is None or facts(a) != facts(b))]
    return sorted(different, key=lambda pair: next(s.domain.hostname for s in reversed(pair) if s is not None))


def changed_fields(before: Site, after: Site) -> dict[str, dict[str, Any]]:
    """Return {field: {before, after}}; a list of networks shows as {added, removed}."""
    old, new = facts(before), facts(after)
    names = dict.fromkeys([*old, *new])
    return {name: _change(old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _change(before: Any, after: Any) -> dict[str, Any]:
    items = [*before, *after] if isinstance(before, list) and isinstance(after, list) else [None]
    if all(isinstance(item, str) for item in items):
        return {"added": sorted({*after} - {*before}), "removed": sorted({*before} - {*after})}
    return {"before": before, "after": after}


def account_changes(old: Snapshot, new: Snapshot) -> dict[str, dict[str, Any]]:
    """Return what differs of what holds for all domains, as `changed_fields` does."""
    before, after = _account_facts(old), _account_facts(new)
    names = dict.fromkeys([*before, *after])
    return {
        name: _change(before.get(name, []), after.get(name, []))
        for name in names
        if before.get(name, []) != after.get(name, [])
    }


def _account_facts(snapshot: Snapshot) -> dict[str, Any]:
    allow, deny = snapshot.networks().get(ACCOUNT_WIDE, ([], []))
    return {
        "under_attack": snapshot.under_attack,
        "lists.allow": allow,
        "lists.deny": deny,
        "tunnels": _tunnel_lines(snapshot.tunnels),
        **{f"zone {zone.name}": list(_zone_lines(zone)) for zone in snapshot.zones},
    }


def _tunnel_lines(tunnels: Tunnels | None) -> list[str]:
    if tunnels is None:
        return []
    ports = " and ".join(str(interface.port) for interface in tunnels.interfaces)
    ends = [f"{peer.name} {peer.address} key {' and '.join(peer.keys)}" for peer in tunnels.peers]
    return [f"shield {tunnels.address} of {tunnels.network}, UDP {ports}, MTU {tunnels.mtu}", *ends]


def _zone_lines(zone: Zone) -> Iterator[str]:
    """Return a zone as lines, without its serial."""
    if zone.signed:
        yield "signed"
    for server in zone.nameservers:
        key = f" key {server.key}" if zone.signed and server.key else ""
        yield f"ns{server.number} {' '.join(server.addresses)}{key}{'' if server.listed else ' not named'}"
    for record in zone.records:
        where = f" place {record.place}" if record.place else f" weight {record.weight}" if record.weight else ""
        yield f"{record.owner} {record.ttl} {record.kind} {record.data}{where}"
    for proxied in zone.proxied:
        for a in proxied.addresses:
            where = f" place {a.place}" if a.place else f" weight {a.weight}" if a.weight else ""
            state = " down" if a.down else ""
            yield f"{proxied.owner} {proxied.ttl} proxied {proxied.answer} {a.address}{where}{state}"
    for alias in zone.aliases:
        yield f"{alias.owner} {alias.ttl} alias {alias.target}"


def server_changes(old: Snapshot, new: Snapshot) -> dict[str, dict[str, Any]]:
    """Return what differs of the server itself, apart from its domains, as `changed_fields` does."""
    before, after = _server_facts(old), _server_facts(new)
    return {name: _change(before[name], after[name]) for name in before if before[name] != after[name]}


def _server_facts(snapshot: Snapshot) -> dict[str, Any]:
    flood = msgspec.structs.asdict(snapshot.flood)
    limits = {f"flood.{name}": flood[name] for name in ("connections", "new_per_second", "bans")}
    return limits | {"forwards": [_forward_fact(forward) for forward in snapshot.forwards]}


def _forward_fact(forward: Forward) -> str:
    defaults = {field.name: field.default for field in msgspec.structs.fields(Forward)}
    values = msgspec.structs.asdict(forward)
    set_by_people = {k: v for k, v in values.items() if k not in _NAMED_IN_FORWARD and v != defaults[k]}
    details = "".join([f", {name} {value}" for name, value in sorted(set_by_people.items())])
    return f"{forward.protocol} {forward.port} to {forward.target}:{forward.target_port}{details}"


def diff(old: Snapshot, new: Snapshot) -> dict[str, Any]:
    """Return {added, removed, changed}, each with one entry per domain, and {account, server}: what else changed."""
    found: dict[str, list[dict[str, Any]]] = {"added": [], "removed": [], "changed": []}
    account = account_changes(old, new)
    for before, after in pairs(old, new):
        if before is None and after is not None:
            found["added"].append({"id": after.domain.id, **facts(after)})
        elif after is None and before is not None:
            found["removed"].append({"id": before.domain.id, **facts(before)})
        elif before is not None and after is not None:
            fields = changed_fields(before, after)
            found["changed"].append({"id": after.domain.id, "hostname": after.domain.hostname, "changes": fields})
    return {**found, "account": account, "server": server_changes(old, new)}


def as_rows(found: dict[str, Any], *, domains_max: int, lines_max: int) -> tuple[list[dict[str, Any]], int]:
    """Return a difference as {kind, hostname, fields: [(name, lost lines, new lines, lines left out)]} for a page.

    The second item is how many domains were left out.
    """
    entries = [(kind, domain) for kind in ("added", "removed", "changed") for domain in found[kind]]
    for part, name in (("account", ALL_DOMAINS), ("server", THIS_SERVER)):
        if found[part]:
            entries.insert(0, ("changed", {"hostname": name, "changes": found[part]}))
    rows = [
        {"kind": kind, "hostname": domain["hostname"], "fields": list(_field_rows(kind, domain, lines_max))}
        for kind, domain in entries[:domains_max]
    ]
    return rows, len(entries) - len(rows)


def _field_rows(kind: str, domain: dict[str, Any], lines_max: int) -> Iterator[tuple[str, list[str], list[str], int]]:
    if kind != "changed":
        lines = _lines(domain["origins"])
        yield ("origins", *((lines, []) if kind == "removed" else ([], lines)), 0)
        return
    for name, change in domain["changes"].items():
        lost = _lines(change["before"] if "before" in change else change["removed"])
        new = _lines(change["after"] if "after" in change else change["added"])
        kept = lost[:lines_max], new[:lines_max]
        yield name, *kept, len(lost) + len(new) - sum(map(len, kept))


def _lines(value: Any) -> list[str]:
    if isinstance(value, list):
        return [line for item in value for line in _lines(item)]
    if isinstance(value, dict):
        return [", ".join(f"{name} {item}" for name, item in value.items())]
    return [str(value)]
