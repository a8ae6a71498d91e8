"""A name server on loopback for tests: a dictionary that answers (RFC 1035)."""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator, Mapping
from typing import cast

KINDS = {1: "A", 12: "PTR", 28: "AAAA"}
Zone = Mapping[tuple[str, str], list[str]]


def encoded(name: str) -> bytes:
    """Return a name as a message has it."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


class _Server(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone, asked: list[str]) -> None:
        self._zone = zone
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12)
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        number = struct.unpack_from("!H", data, end + 1)[0]
        name, kind = ".".join(labels).lower(), KINDS[number]
        self._asked.append(f"{kind} {name}")
        records = self._zone.get((name, kind))
        if records == ["silence"]:
            return
        said = [encoded(value) if kind == "PTR" else ipaddress.ip_address(value).packed for value in records or []]
        found = [b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 60, len(one)) + one for one in said]
        head = data[:2] + struct.pack("!5H", 0x8183 if records is None else 0x8180, 1, len(found), 0, 0)
        self._transport.sendto(head + data[12 : end + 5] + b"".join(found), addr)


@contextlib.asynccontextmanager
async def nameserver(zone: Zone) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve a zone {(name, kind): records}; yields the port and the questions that were asked. ["silence"] is none."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(zone, asked), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1], asked
    finally:
        transport.close()


def pointer(address: str, name: str) -> dict[tuple[str, str], list[str]]:
    """Return the PTR record of an address."""
    return {(ipaddress.ip_address(address).reverse_pointer, "PTR"): [name]}
