"""Questions to resolvers over UDP: PTR, A, AAAA, SOA and TXT (RFC 1035, RFC 3596), without other threads.

Answers are used to compare texts and addresses; whatever is odd in one counts as no answer.
"""

import asyncio
import ipaddress
import re
import secrets
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lumos_agent.errors import AgentError

SECONDS = 2.0
TRIES = 3
PORT = 53
_KINDS = {"A": 1, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28}
_INTERNET = 1
_RECURSION_DESIRED = 0x0100
_IS_ANSWER, _IS_CUT, _CODE = 0x8000, 0x0200, 0x000F
_NO_SUCH_NAME = 3
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_NAME = re.compile(r"\A(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\Z")
_NAMESERVER = re.compile(r"(?m)^\s*nameserver\s+([0-9A-Fa-f.:]+)\s*$")

Kind = Literal["A", "SOA", "PTR", "TXT", "AAAA"]


class NoAnswer(AgentError):
    """No resolver gave a usable answer in time; asking later may help."""


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[tuple[str, int], ...]:
    """Return the resolvers of this machine as (address, port); without any the one on this machine (resolv.conf(5))."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        text = ""
    return tuple((address, PORT) for address in _NAMESERVER.findall(text)) or (("127.0.0.1", PORT),)


class _Exchange(asyncio.DatagramProtocol):
    """One question on a socket of its own, so that its port is as hard to guess as its id."""

    def __init__(self, question: bytes) -> None:
        self._question = question
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answer.done() and data[:2] == self._question[:2]:
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


class Resolver:
    """Asks `servers` in turn."""

    def __init__(self, servers: Sequence[tuple[str, int]] | None = None) -> None:
        self._servers = servers

    async def names(self, address: str) -> list[str]:
        """Return the names that an address points to, in lower case and without the final dot.

        Raises:
            NoAnswer: nobody could say.
        """
        return await self._ask(ipaddress.ip_address(address).reverse_pointer, "PTR")

    async def addresses(self, name: str, *, version: int) -> list[str]:
        """Return the addresses of a name, of IP version 4 or 6.

        Raises:
            NoAnswer: nobody could say.
        """
        return await self._ask(name, "A" if version == 4 else "AAAA")

    async def texts(self, name: str) -> list[str]:
        """Return the texts of a name.

        Raises:
            NoAnswer: nobody could say.
        """
        return await self._ask(name, "TXT")

    async def serials(self, zone: str) -> list[str]:
        """Return the serial of a zone, in decimal; nothing if there is no such zone.

        Raises:
            NoAnswer: nobody could say.
        """
        return await self._ask(zone, "SOA")

    async def _ask(self, name: str, kind: Kind) -> list[str]:
        if not _NAME.match(name):
            return []
        servers = self._servers or system_servers()
        for attempt in range(TRIES):
            question = _question(name, kind)
            try:
                answer = await _exchanged(question, servers[attempt % len(servers)])
                return records_in(answer, question, kind)
            except (OSError, TimeoutError, ValueError, IndexError, struct.error):
                continue
        raise NoAnswer(f"no resolver answers for {kind} of {name}")


async def _exchanged(question: bytes, server: tuple[str, int]) -> bytes:
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(question), remote_addr=server)
    try:
        transport.sendto(question)
        async with asyncio.timeout(SECONDS):
            return await exchange.answer
    finally:
        transport.close()


def _question(name: str, kind: Kind) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    header = _HEADER.pack(secrets.randbits(16), _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack("!HH", _KINDS[kind], _INTERNET)


def _name_at(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at an offset and where it ends; pointers lead backwards only (RFC 1035, 4.1.4)."""
    labels: list[str] = []
    end, lowest = 0, at
    while (length := message[at]) != 0:
        if length >= 0xC0:
            end = end or at + 2
            target = (length & 0x3F) << 8 | message[at + 1]
            if target >= lowest:
                raise ValueError("a name points forwards")
            at = lowest = target
        elif length > 63:
            raise ValueError("a label of an unknown kind")
        else:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
    return ".".join(labels).lower(), end or at + 1


def records_in(message: bytes, question: bytes, kind: Kind) -> list[str]:
    """Return what the records of a kind say.

    Raises:
        ValueError, IndexError, struct.error: this is no whole answer to the question.
    """
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    asked = message[_HEADER.size : len(question)]
    if not flags & _IS_ANSWER or flags & _IS_CUT or questions != 1 or asked.lower() != question[_HEADER.size :].lower():
        raise ValueError("not an answer to this question")
    if flags & _CODE == _NO_SUCH_NAME:
        return []
    if flags & _CODE:
        raise ValueError(f"the resolver reports error {flags & _CODE}")
    found, at = [], len(question)
    for _ in range(answers):
        _, at = _name_at(message, at)
        number, family, _, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size
        if number == _KINDS[kind] and family == _INTERNET:
            found.append(_said(message, at, length, kind))
        at += length
    return found


def _text_at(message: bytes, at: int, end: int) -> str:
    """Return the strings of a text joined (RFC 1035, 3.3.14)."""
    found = b""
    while at < end:
        found += message[at + 1 : at + 1 + message[at]]
        at += 1 + message[at]
    return found.decode("latin-1")


def _said(message: bytes, at: int, length: int, kind: Kind) -> str:
    if kind == "PTR":
        return _name_at(message, at)[0]
    if kind == "TXT":
        return _text_at(message, at, at + length)
    if kind == "SOA":
        _, after = _name_at(message, _name_at(message, at)[1])
        return str(struct.unpack_from("!I", message, after)[0])
    return str(ipaddress.ip_address(message[at : at + length]))
