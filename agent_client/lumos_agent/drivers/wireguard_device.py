"""One WireGuard interface, by ip(8) and wg(8): in the kernel, or in wireguard-go where that has no module."""

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lumos_agent.errors import ApplyError
from lumos_agent.runner import run

FORWARDING_RULE = 5000  # preference among the machine's routing rules (ip-rule(8))


class PeerState(Struct, frozen=True):
    """What WireGuard says of a peer. `handshake`: Unix seconds, 0: never; `endpoint` is empty before it was heard."""

    endpoint: str
    allowed: frozenset[str]
    handshake: int
    received_bytes: int
    sent_bytes: int


class Dump(Struct, frozen=True):
    """What an interface runs; peers by their public key."""

    public_key: str
    port: int
    peers: dict[str, PeerState]


def parse_dump(text: str) -> Dump:
    """Return the meaning of `wg show … dump` (wg(8))."""
    first, *rest = (line.split("\t") for line in text.splitlines())
    peers = {}
    for key, _, endpoint, allowed, handshake, received, sent, _ in rest:
        networks = frozenset(allowed.split(",")) - {"(none)"}
        known = "" if endpoint == "(none)" else endpoint
        peers[key] = PeerState(known, networks, int(handshake), int(received), int(sent))
    return Dump("" if first[1] == "(none)" else first[1], int(first[2]), peers)


async def dump(name: str) -> Dump | None:
    """Return what runs, None if there is no such interface (or the process behind it died)."""
    code, text = await run(["wg", "show", name, "dump"])
    return parse_dump(text) if code == 0 else None


def missing() -> str:
    """Return what has to be installed before anything works, "" if nothing is missing."""
    tools = [tool for tool in ("wg", "ip") if shutil.which(tool) is None]
    return f"{' and '.join(tools)} not installed; apt install wireguard-tools iproute2" if tools else ""


async def create(name: str) -> str:
    """Make the interface; returns what it lives in.

    Raises:
        ApplyError: neither the kernel nor wireguard-go can.
    """
    await run(["ip", "link", "delete", "dev", name])  # of a process that died
    code, words = await run(["ip", "link", "add", "dev", name, "type", "wireguard"])
    if code == 0:
        return "kernel"
    if "not permitted" in words:
        raise ApplyError("switch", f"cannot make {name}: {words.strip()}; the agent needs CAP_NET_ADMIN")
    if shutil.which("wireguard-go") is None:
        raise ApplyError(
            "check", "the kernel has no WireGuard module; load it (modprobe wireguard) or apt install wireguard-go"
        )
    code, words = await run(["wireguard-go", name])
    if code != 0:
        last = words.strip().rpartition("\n")[2]
        raise ApplyError("switch", f"wireguard-go does not start: {last}; it needs CAP_NET_ADMIN and /dev/net/tun")
    return "wireguard-go"


async def remove(name: str) -> None:
    """Take the interface away; wireguard-go ends with it."""
    await run(["ip", "link", "delete", "dev", name])
    await run(["ip", "rule", "delete", "iif", name])


async def synchronise(name: str, conf: Path) -> None:
    """Make the interface as a file says; peers that are the same notice nothing.

    Raises:
        ApplyError: WireGuard refuses.
    """
    await _must(["wg", "syncconf", name, str(conf)])


async def bring_up(name: str, address: str, mtu: int, network: str) -> None:
    """Give the interface its address and MTU, and forward nothing that comes out of it to others in `network`."""
    (link,) = await _json(["address", "show", "dev", name])
    if link["mtu"] != mtu or "UP" not in link["flags"]:
        await _must(["ip", "link", "set", "dev", name, "mtu", str(mtu), "up"])
    held = {info["local"] for info in link["addr_info"] if info["family"] == "inet"}
    if address not in held:
        await _must(["ip", "address", "add", f"{address}/32", "dev", name])
    for old in held - {address}:
        await _must(["ip", "address", "delete", f"{old}/32", "dev", name])
    rules = [rule for rule in await _json(["-4", "rule", "show"]) if rule.get("iif") == name]
    if [f"{rule['dst']}/{rule.get('dstlen', 32)}" for rule in rules] != [network]:
        for _ in rules:
            await _must(["ip", "rule", "delete", "iif", name])
        rule = ["iif", name, "to", network, "preference", str(FORWARDING_RULE), "unreachable"]
        await _must(["ip", "rule", "add", *rule])


async def routes(name: str) -> set[str]:
    """Return the addresses that are reached through the interface."""
    code, _ = await run(["ip", "link", "show", "dev", name])
    return set() if code else {route["dst"] for route in await _json(["-4", "route", "show", "dev", name])}


async def route(address: str, name: str, source: str) -> None:
    """Reach `address` through the interface, and not by another way any more."""
    await _must(["ip", "route", "replace", f"{address}/32", "dev", name, "src", source])


async def unroute(address: str, name: str) -> None:
    """Reach `address` no longer through the interface."""
    await _must(["ip", "route", "delete", f"{address}/32", "dev", name])


async def _must(argv: list[str]) -> str:
    code, words = await run(argv)
    if code != 0:
        raise ApplyError("switch", re.sub(r"\s+", " ", words).strip() or f"{argv[0]} failed with {code}")
    return words


async def _json(words: list[str]) -> list[Any]:
    found: list[Any] = msgspec.json.decode(await _must(["ip", "-json", *words]))
    return found
