"""Handshakes that origins begin, counted by nftables before and after the machine's own rules.

WireGuard is silent about what it refuses. The two counters tell whether anything arrives, and whether a firewall of
this machine drops it; what arrives without an answer has the wrong key or an old time stamp. The table drops nothing.
"""

import logging
import shutil
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from lumos_agent.runner import run

log = logging.getLogger(__name__)

_FIRST, _LAST = -310, 310  # priorities: before and after every usual chain (nft(8), standard priorities)


class Arrivals(Struct, frozen=True):
    """How many handshakes were begun with this machine, and how many of them its rules let through."""

    arrived: int
    admitted: int


def table(server_id: str) -> str:
    """Return the name of the shield's table."""
    return f"lumos_tunnels_{server_id[:6]}"


def table_text(server_id: str, ports: Iterable[int]) -> str:
    """Return the table for nft(8). A handshake's first message begins with 01 00 00 00 (WireGuard protocol, 5.4.2)."""
    match = f"udp dport {{ {', '.join(map(str, sorted(ports)))} }} @th,64,32 0x01000000 counter name"
    return (
        f"table inet {table(server_id)}\ndelete table inet {table(server_id)}\ntable inet {table(server_id)} {{\n"
        "  counter arrived { }\n  counter admitted { }\n"
        f"  chain first {{ type filter hook input priority {_FIRST}; policy accept; {match} arrived; }}\n"
        f"  chain last {{ type filter hook input priority {_LAST}; policy accept; {match} admitted; }}\n}}\n"
    )


async def install(path: str) -> None:
    """Load a table from a file; without nftables nobody counts, and tunnels work all the same."""
    if shutil.which("nft") is None:
        return
    code, words = await run(["nft", "-f", path])
    if code != 0:
        log.warning("handshakes_not_counted", extra={"error": words[:500]})


async def remove(server_id: str) -> None:
    """Take the table away."""
    if shutil.which("nft") is not None:
        await run(["nft", "delete", "table", "inet", table(server_id)])


async def read(server_id: str) -> Arrivals | None:
    """Return the counters, None if nobody counts."""
    if shutil.which("nft") is None:
        return None
    code, text = await run(["nft", "--json", "list", "counters", "table", "inet", table(server_id)])
    if code != 0:
        return None
    entries = (entry.get("counter") for entry in msgspec.json.decode(text)["nftables"])
    packets = {counter["name"]: counter["packets"] for counter in entries if counter}
    return Arrivals(packets["arrived"], packets["admitted"])
