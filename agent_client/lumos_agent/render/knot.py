"""Zones as files of Knot DNS: knot.conf, a zone file per zone, and what its geoip module reads. Pure.

The module answers before the zone does, and a name that it knows has nothing but what its view says; so a view holds
all types of the name. Countries and continents are modules in a row, because the one that knows nothing of a client
leaves the question to the next; the last has a view for everybody, which tells resolvers the right scope (RFC 7871).
"""

import itertools
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from lumos_agent.config import split_listen
from lumos_agent.render.knot_sets import RecordSet, Resolved, Sets, Texts, record_sets
from lumos_agent.zone import KEY_TTL, WEIGHT_MAX, Zone

RATE_LIMIT = 100  # answers of one kind per second to a network of clients (mod-rrl); every second one beyond is cut
SIGNED_FOR = "21d"  # long enough for an agent that is away; it has all signed again every day
PAYLOAD_MAX = 1232  # bytes that no path fragments (DNS Flag Day 2020)
_SHARES = 1000  # into how many parts weights divide the answers
_ESCAPED = re.compile(r"\\([\"\\])")
_KEYS = {"country": "country/iso_code", "continent": "continent/code"}

# The keys of other shields stay where the zone file has them; own ones are the agent's to make (keymgr).
_POLICY = [
    "policy:",
    "  - id: own-key",
    "    manual: on",
    "    single-type-signing: on",
    "    algorithm: ecdsap256sha256",
    f"    dnskey-ttl: {KEY_TTL}",
    "    dnskey-management: incremental",
    "    delete-delay: 1d",
    f"    rrsig-lifetime: {SIGNED_FOR}",
    "    cds-cdnskey-publish: none",
]

Files = dict[str, bytes]


class KnotOptions(Struct, frozen=True, kw_only=True):
    """Where Knot listens (`address:port`) and keeps its files; `database` is empty without one of countries.

    `keys` is the directory of the keys that zones are signed with.
    """

    listen: tuple[str, ...]
    root: str
    keys: str
    socket: str
    log: str
    database: str = ""


class Module(Struct, frozen=True):
    """One instance of the geoip module: mode, time to live, and its views as text."""

    mode: str
    ttl: int
    text: str


class RenderedZone(Struct, frozen=True):
    """A zone, and what is answered for a moment below it, with its text and its modules."""

    zone: Zone
    texts: Texts
    text: str
    modules: tuple[Module, ...]


def zone_file_name(zone: str) -> str:
    """Return where a zone's file is below the root."""
    return f"zones/{zone}.zone"


def rendered_zone(zone: Zone, resolved: Resolved, texts: Texts, *, has_database: bool) -> RenderedZone:
    """Return what a zone is made of, as `record_sets` understands `resolved` and `texts`."""
    sets = record_sets(zone, resolved, texts)
    text = _zone_text(sets) + _keys_text(zone)
    return RenderedZone(zone, texts, text, tuple(_modules(sets, has_database=has_database)))


def render(parts: Sequence[RenderedZone], options: KnotOptions) -> Files:
    """Return {path below the root: content}."""
    files: Files = {}
    modules: dict[str, list[str]] = {}
    instances: list[str] = []
    for part in parts:
        files[zone_file_name(part.zone.name)] = part.text.encode()
        for module in part.modules:
            name = f"{part.zone.id}-{module.mode}-{module.ttl}"
            files[f"geo/{name}.conf"] = module.text.encode()
            modules.setdefault(part.zone.name, []).append(name)
            instances.append(_instance(name, module, options))
    files["knot.conf"] = _conf([part.zone for part in parts], modules, instances, options).encode()
    return files


def _zone_text(sets: Sets) -> str:
    """Return the zone file (RFC 1035, 5); of weighted records all are in it, for clients that the module misses."""
    return "".join(
        f"{owner} {found.ttl} IN {kind} {data}\n"
        for owner, kinds in sets.items()
        for kind, found in kinds.items()
        for data, _ in found.everywhere
    )


def _keys_text(zone: Zone) -> str:
    """Return the keys of all shields (RFC 8901, 2.1.2): signing and secure entry point, ECDSA on P-256.

    They are in no view: the geoip module takes no DNSKEY, and leaves questions for it to the zone.
    """
    keys = sorted({server.key for server in zone.nameservers if server.key}) if zone.signed else []
    return "".join(f"{zone.name}. {KEY_TTL} IN DNSKEY 257 3 13 {key}\n" for key in keys)


def _modules(sets: Sets, *, has_database: bool) -> list[Module]:
    """Return the instances in the order in which they are asked."""
    texts: dict[tuple[str, int], list[str]] = {}
    for owner, kinds in sets.items():
        placed = [found.ttl for found in kinds.values() if found.places]
        weighted = [found.ttl for found in kinds.values() if _is_weighted(found)]
        if placed and has_database:
            for mode in _KEYS:
                texts.setdefault((mode, min(placed)), []).append(_placed_text(owner, kinds, mode))
        elif weighted:
            texts.setdefault(("weighted", min(weighted)), []).append(_weighted_text(owner, kinds))
    order = [*_KEYS, "weighted"]
    found = [Module(mode, ttl, "".join(parts)) for (mode, ttl), parts in texts.items() if any(parts)]
    return sorted(found, key=lambda module: (order.index(module.mode), module.ttl))


def _is_weighted(found: RecordSet) -> bool:
    return any(weight for _, weight in found.everywhere)


def _placed_text(owner: str, kinds: dict[str, RecordSet], mode: str) -> str:
    """Return the views of a name for countries, or for continents with one for everybody."""
    codes = sorted({place for found in kinds.values() for place in found.places if place.startswith(f"{mode}:")})
    views = [
        (place.partition(":")[2], {k: f.places.get(place) or _all(f) for k, f in kinds.items()}) for place in codes
    ]
    if mode == "continent":
        views.append(("*", {kind: _all(found) for kind, found in kinds.items()}))
    return _views(owner, "geo", views)


def _weighted_text(owner: str, kinds: dict[str, RecordSet]) -> str:
    """Return views that together give each record its share, for every type of the name."""
    choices = {kind: _shares(found.everywhere) for kind, found in kinds.items() if _is_weighted(found)}
    edges = sorted({0, *(end for ends in choices.values() for end, _ in ends)})
    views = []
    for begin, end in itertools.pairwise(edges):
        chosen = {kind: [next(data for last, data in ends if last >= end)] for kind, ends in choices.items()}
        data = {kind: chosen.get(kind) or _all(found) for kind, found in kinds.items()}
        views += [(str(part), data) for part in _parts(end - begin)]
    return _views(owner, "weight", views)


def _shares(records: Sequence[tuple[str, int]]) -> list[tuple[int, str]]:
    """Return (end of its share, data) of each record, out of `_SHARES`."""
    total, summed, ends = sum(weight for _, weight in records), 0, []
    for data, weight in records:
        summed += weight
        ends.append((round(_SHARES * summed / total), data))
    return ends


def _parts(weight: int) -> Iterator[int]:
    """Split a weight into those that one view may have."""
    for left in range(weight, 0, -WEIGHT_MAX):
        yield min(left, WEIGHT_MAX)


def _all(found: RecordSet) -> list[str]:
    return [data for data, _ in found.everywhere]


def _views(owner: str, key: str, views: Sequence[tuple[str, dict[str, list[str]]]]) -> str:
    lines = [f"{owner}:"] if views else []
    for value, kinds in views:
        lines.append(f"  - {key}: {_quoted(value)}")
        lines += [f"    {kind}: {_quoted(_plain(data))}" for kind, records in kinds.items() for data in records]
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """Return one value of Knot's configuration: a quote has a backslash before it, a backslash means itself."""
    return '"' + text.replace('"', '\\"') + '"'


def _plain(data: str) -> str:
    """Return record data whose backslashes only begin numbers (RFC 1035, 5.1), so that `_quoted` is enough."""
    return _ESCAPED.sub(lambda found: f"\\{ord(found[1]):03d}", data)


def _instance(name: str, module: Module, options: KnotOptions) -> str:
    lines = [
        f"  - id: {name}",
        f"    config-file: {_quoted(f'{options.root}/geo/{name}.conf')}",
        f"    ttl: {module.ttl}",
    ]
    if module.mode == "weighted":
        lines.append("    mode: weighted")
    else:
        database = _quoted(options.database)
        lines += ["    mode: geodb", f"    geodb-file: {database}", f"    geodb-key: {_KEYS[module.mode]}"]
    return "\n".join(lines)


def _listen(text: str) -> str:
    address, port = split_listen(text)
    return _quoted(f"{address}@{port}")


def _conf(zones: Sequence[Zone], modules: dict[str, list[str]], instances: Sequence[str], options: KnotOptions) -> str:
    lines = [
        "server:",
        f"  listen: [{', '.join(map(_listen, options.listen))}]",
        f"  rundir: {_quoted(options.root)}",
        '  identity: ""',
        '  version: ""',
        '  nsid: ""',
        "  edns-client-subnet: on",
        "  answer-rotation: on",
        f"  udp-max-payload: {PAYLOAD_MAX}",
        "control:",
        f"  listen: {_quoted(options.socket)}",
        "database:",
        f"  storage: {_quoted(f'{options.root}/db')}",
        f"  kasp-db: {_quoted(options.keys)}",
        "log:",
        f"  - target: {_quoted(options.log)}",
        "    any: warning",
        "mod-rrl:",
        "  - id: default",
        f"    rate-limit: {RATE_LIMIT}",
        "    slip: 2",
        '    whitelist: ["127.0.0.0/8", "::1"]',
        *(["mod-geoip:", *instances] if instances else []),
        *(_POLICY if any(zone.signed for zone in zones) else []),
        "template:",
        "  - id: default",
        f"    storage: {_quoted(f'{options.root}/zones')}",
        '    file: "%s.zone"',
        "    zonefile-load: whole",
        "    zonefile-sync: -1",
        "    journal-content: none",
        "    semantic-checks: on",
        "    global-module: mod-rrl/default",
        "zone:",
    ]
    for zone in zones:
        lines.append(f"  - domain: {zone.name}.")
        lines += ["    dnssec-signing: on", "    dnssec-policy: own-key"] if zone.signed else []
        if used := modules.get(zone.name):
            lines.append(f"    module: [{', '.join(f'mod-geoip/{name}' for name in used)}]")
    return "".join(f"{line}\n" for line in lines)
