"""UDP forwards and limits of floods -> the table `inet lumos` of nftables. Pure; no other table is named.

A packet that opens a session gets a mark on its connection (conntrack), which names the forward: `MARK` and the port.
Everything else follows from the mark, so a session stays what it was whatever the rules say later.
"""

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lumos_agent.flood import FloodLimits
from lumos_agent.forward import Forward

FAMILY, TABLE = "inet", "lumos"
MARK = 0x4C550000
MARK_MASK = 0xFFFF0000
SOURCES_MAX = 65_535
_CHAINS: Mapping[str, str] = {
    "early": "type filter hook prerouting priority raw; policy accept;",
    "accepted": "type filter hook prerouting priority mangle; policy accept;",
    "fresh": "",
    "counted": "type filter hook prerouting priority mangle + 5; policy accept;",
    "translate": "type nat hook prerouting priority dstnat; policy accept;",
    "answers": "type nat hook postrouting priority srcnat; policy accept;",
    "passed": "type filter hook forward priority filter; policy accept;",
}
_SOURCE = {4: "ip saddr", 6: "ip6 saddr and ffff:ffff:ffff:ffff::"}  # who is one client
_OURS = f"ct mark and {MARK_MASK:#x} == {MARK:#x}"


class Part(NamedTuple):
    """What one purpose adds to a table."""

    objects: list[tuple[str, str, str]]
    elements: list[tuple[str, str]]
    rules: list[tuple[str, str]]


class Table(NamedTuple):
    """The table: `objects` are (kind, name, definition), `rules` are (chain, rule), `elements` are (map, element).

    `digest` names this content; an empty chain called ``v_<digest>`` says that it is what runs.
    """

    objects: tuple[tuple[str, str, str], ...]
    elements: tuple[tuple[str, str], ...]
    rules: tuple[tuple[str, str], ...]
    digest: str


def mark_of(forward: Forward) -> int:
    """Return the connection mark of a forward's sessions."""
    return MARK | forward.port


def version_of(forward: Forward) -> int:
    """Return 4 or 6: a session stays in the family of its target."""
    return ipaddress.ip_address(forward.target).version


def render_table(
    forwards: Sequence[Forward], flood: FloodLimits, *, ports: Sequence[int], closed: Sequence[int] = ()
) -> Table | None:
    """Return the table; None if nothing is forwarded by UDP and nobody is limited.

    `ports` are those of the sites; with those of the TCP forwards they are what `flood` guards.

    `closed` are the families (4, 6) that forward nothing else: the machine did not before this agent let it.
    """
    chosen = [forward for forward in forwards if forward.protocol == "udp"]
    if not chosen and not flood.is_on():
        return None
    guarded = sorted({*ports, *(forward.port for forward in forwards if forward.protocol == "tcp")})
    parts = [_guard(flood, guarded)] * flood.is_on() + [_passed(chosen)] * bool(chosen)
    objects = [entry for part in parts for entry in part.objects]
    elements = [entry for part in parts for entry in part.elements]
    rules = [entry for part in parts for entry in part.rules]
    rules += [("passed", f"meta nfproto ipv{version} {_OURS.replace('==', '!=')} drop") for version in closed]
    unique = tuple(dict.fromkeys(objects))
    content = repr((unique, sorted(elements), rules)).encode()
    return Table(unique, tuple(elements), tuple(rules), hashlib.sha256(content).hexdigest()[:24])


def _guard(flood: FloodLimits, ports: Sequence[int]) -> Part:
    """Return what limits and bans clients at `ports`.

    Concurrent connections are counted where the kernel already knows them (conntrack), all else before.
    """
    objects = [("counter", "flood_banned", ""), ("counter", "flood_limited", "")]
    at_ports = f"fib daddr type local tcp dport {{ {', '.join(map(str, ports))} }}"
    elements: list[tuple[str, str]] = []
    rules: list[tuple[str, str]] = []
    for version in (4, 6):
        match = f"meta nfproto ipv{version} {at_ports}"
        networks = [network for network in flood.spared if (":" in network) == (version == 6)]
        objects.append(("set", f"spared{version}", f"type ipv{version}_addr; flags interval; auto-merge;"))
        elements += [(f"spared{version}", network) for network in networks]
        address = "ip saddr" if version == 4 else "ip6 saddr"
        spared = f"{address} @spared{version} return"
        rules += [("early", spared), ("counted", spared)]
        if flood.bans:
            objects.append(("set", f"banned{version}", _banned(version)))
            drop = f"{address} @banned{version} counter name flood_banned drop"
            rules += [("early", f"{match} {drop}"), ("early", f"{match.replace('tcp', 'udp', 1)} {drop}")]
        if flood.new_per_second:
            objects.append(("set", f"syn{version}", _sources(version)))
            rate = f"{flood.new_per_second}/second burst {flood.new_per_second} packets"
            syn = f"{match} tcp flags & (fin|syn|rst|ack) == syn"
            limit = f"update @syn{version} {{ {_SOURCE[version]} limit rate over {rate} }}"
            rules.append(("early", f"{syn} {limit} counter name flood_limited drop"))
        if flood.connections:
            objects.append(("set", f"open{version}", f"type ipv{version}_addr; size {SOURCES_MAX}; flags dynamic;"))
            limit = f"add @open{version} {{ {_SOURCE[version]} ct count over {flood.connections} }}"
            rules.append(("counted", f"{match} ct state new {limit} counter name flood_limited drop"))
    return Part(objects, elements, rules)


def _banned(version: int) -> str:
    return f"type ipv{version}_addr; size {SOURCES_MAX}; flags interval,timeout; auto-merge;"


def _passed(chosen: Sequence[Forward]) -> Part:
    """Return what passes UDP ports on."""
    objects = [("map", f"udp{v}", f"type inet_service : ipv{v}_addr . inet_service;") for v in (4, 6)]
    elements: list[tuple[str, str]] = []
    rules: list[tuple[str, str]] = []
    for forward in chosen:
        version, port = version_of(forward), forward.port
        elements.append((f"udp{version}", f"{port} : {forward.target} . {forward.target_port}"))
        objects += [("counter", f"in_{port}", ""), ("counter", f"out_{port}", "")]
        timeout = f"idle{version}_{forward.idle_seconds}"
        objects.append(("ct timeout", timeout, _timeout(version, forward.idle_seconds)))
        family = f"meta nfproto ipv{version}"
        action = f'ct mark set {mark_of(forward):#x} ct timeout set "{timeout}" return'
        rules.append(("fresh", f"{family} udp dport {port} {action}"))
        if forward.packets_per_second:
            objects += [("set", f"rate{version}_{port}", _sources(version)), ("chain", f"limit_{port}", "")]
            rules.append((f"limit_{port}", _limited(forward, version)))
    return Part(objects, elements, rules + _fixed_rules(chosen))


def _timeout(version: int, seconds: int) -> str:
    protocol = "ip" if version == 4 else "ip6"
    return f"protocol udp; l3proto {protocol}; policy = {{ unreplied : {min(seconds, 30)}, replied : {seconds} }};"


def _sources(version: int) -> str:
    return f"type ipv{version}_addr; size {SOURCES_MAX}; flags dynamic,timeout; timeout 10s;"


def _limited(forward: Forward, version: int) -> str:
    rate = f"{forward.packets_per_second}/second burst {forward.packets_per_second} packets"
    match = f"meta nfproto ipv{version} fib daddr type local"
    return f"{match} update @rate{version}_{forward.port} {{ {_SOURCE[version]} limit rate over {rate} }} drop"


def _fixed_rules(forwards: Sequence[Forward]) -> list[tuple[str, str]]:
    """Return the rules that are there once however many forwards there are."""
    counters = {way: ", ".join(f'{mark_of(f):#x} : "{way}_{f.port}"' for f in forwards) for way in ("in", "out")}
    limited = ", ".join(f"{f.port} : jump limit_{f.port}" for f in forwards if f.packets_per_second)
    return [
        *([("early", f"udp dport vmap {{ {limited} }}")] if limited else []),
        ("accepted", "ct state new fib daddr type local meta l4proto udp jump fresh"),
        ("translate", f"meta nfproto ipv4 {_OURS} dnat ip to udp dport map @udp4"),
        ("translate", f"meta nfproto ipv6 {_OURS} dnat ip6 to udp dport map @udp6"),
        ("answers", f"{_OURS} masquerade"),
        ("passed", f"ct direction original counter name ct mark map {{ {counters['in']} }}"),
        ("passed", f"ct direction reply counter name ct mark map {{ {counters['out']} }}"),
    ]


def script(table: Table, stale: Sequence[tuple[str, str]] = ()) -> str:
    """Return what `nft -f` carries out as one transaction; `stale` are (kind, name) of objects that must go.

    What has state (counters, the sources that are being limited) is kept where it is kept.
    """
    where = f"{FAMILY} {TABLE}"
    lines = [f"add table {where}"]
    lines += [f"add chain {where} {name}{f' {{ {hook} }}' if hook else ''}" for name, hook in _CHAINS.items()]
    lines += [f"flush chain {where} {name}" for name in _CHAINS]
    lines += [f"add {kind} {where} {name}{f' {{ {text} }}' if text else ''}" for kind, name, text in table.objects]
    own = [name for kind, name, _ in table.objects if kind == "chain"]
    lines += [f"flush chain {where} {name}" for name in [*own, *(name for kind, name in stale if kind == "chain")]]
    lines += [f"flush map {where} {name}" for kind, name, _ in table.objects if kind == "map"]
    lines += [f"flush set {where} {name}" for kind, name, _ in table.objects if name.startswith("spared")]
    lines += [f"add element {where} {name} {{ {element} }}" for name, element in table.elements]
    lines += [f"add rule {where} {chain} {rule}" for chain, rule in table.rules]
    lines += [f"delete {kind} {where} {name}" for kind, name in stale]
    lines.append(f"add chain {where} v_{table.digest}")
    return "\n".join(lines) + "\n"


def fresh_script(table: Table) -> str:
    """Return what makes the table from nothing, to be checked on its own."""
    return f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n" + script(table)


def kept_names(table: Table) -> set[tuple[str, str]]:
    """Return (kind, name) of everything that a table consists of."""
    chains = {("chain", name) for name in (*_CHAINS, f"v_{table.digest}")}
    return {(kind, name) for kind, name, _ in table.objects} | chains
