"""Events on their way from HAProxy's log pipe to batches.

Bytes move from the pipe to a file with splice(2), in the kernel: a kill of the agent loses none of them. The spool
remembers (file, offset) of what became batches; a file that is used up is deleted and the next one begun.
"""

import base64
import binascii
import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, structs

from lumos_agent import protocol
from lumos_agent.geo import Locator

FILE_BYTES = 1024 * 1024
TOTAL_BYTES_MAX = 16 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
# Lines of earlier configurations have no place or no hits at the end.
_FIELDS = (20, 21, 22)
_HITS = re.compile(rb"^answer (?:\S+ ){8}(?P<time>\d+)\.\S+ .* hits:(?P<hits>[0-9a-f=,-]+)\n$")
HOUR_SECONDS = 3600
_ACTIONS: dict[bytes, protocol.EventAction] = {
    b"block": "block",
    b"detect": "detect",
    b"limit": "limit",
    b"challenge": "challenge",
}


class Position(Struct, frozen=True):
    """Up to where events became batches."""

    file: int = 0
    offset: int = 0


_FAILED = b"lumos failed: "  # render/lua/main.lua


class Read(NamedTuple):
    """What stands between two positions: events, {(custom rule, hour): requests for which it held}, and the latter."""

    events: list[protocol.Event]
    hits: Counter[tuple[str, int]]
    position: Position


class EventLog:
    """The pipe and the files behind it; `failure` is what the WAF's engine said when it failed last."""

    def __init__(self, folder: Path, fifo: Path, locator: Locator) -> None:
        self._locator = locator
        self._folder = folder
        self._fifo = fifo
        self._pipe: int | None = None
        self.dropped = 0
        self._lost = b""
        self.failure = ""
        numbers = self._numbers()
        self._fresh = Position(numbers[-1], self._path(numbers[-1]).stat().st_size) if numbers else Position()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:09d}.log"

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.log"))

    def drain(self) -> None:
        """Move what HAProxy logged from the pipe to the newest file; over the size limit it is dropped and counted."""
        if self._pipe is None:
            if not self._fifo.is_fifo():
                return
            self._pipe = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        numbers = self._numbers()
        newest = numbers[-1] if numbers else 0
        if sum(self._path(number).stat().st_size for number in numbers) > TOTAL_BYTES_MAX:
            self._discard()
            return
        if numbers and self._path(newest).stat().st_size > FILE_BYTES:
            newest += 1
        target = os.open(self._path(newest), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with contextlib.suppress(BlockingIOError):
                while os.splice(self._pipe, target, _PIPE_BYTES, offset_dst=os.fstat(target).st_size):
                    pass
        finally:
            os.close(target)

    def _discard(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pipe is not None and (lost := os.read(self._pipe, _PIPE_BYTES)):
                self.dropped += lost.count(b"\n")
                self._lost = lost

    def fresh(self) -> bytes:
        """Return the whole lines that were moved since the last call, and the newest of those that were dropped."""
        parts, self._lost = [self._lost], b""
        for number in [number for number in self._numbers() if number >= self._fresh.file]:
            offset = self._fresh.offset if number == self._fresh.file else 0
            with self._path(number).open("rb") as file:
                file.seek(offset)
                lines = file.read(TOTAL_BYTES_MAX).rpartition(b"\n")
            parts.append(lines[0] + lines[1])
            self._fresh = Position(number, offset + len(parts[-1]))
        return b"".join(parts)

    def read(self, position: Position, limit: int) -> Read:
        """Return what follows `position`, up to `limit` events."""
        numbers = [number for number in self._numbers() if number >= position.file]
        if not numbers:
            return Read([], Counter(), position)
        number = numbers[0]
        offset = position.offset if number == position.file else 0
        with self._path(number).open("rb") as file:
            file.seek(offset)
            lines = file.read(FILE_BYTES * 4).splitlines(keepends=True)
        self._locator.refresh()
        events: list[protocol.Event] = []
        hits: Counter[tuple[str, int]] = Counter()
        for line in lines:
            if not line.endswith(b"\n") or len(events) == limit:
                break
            offset += len(line)
            hits.update(parse_hits(line))
            if line.startswith(_FAILED):
                self.failure = line.removeprefix(_FAILED).decode(errors="replace").strip()
            if (event := parse_line(line)) is not None:
                country, asn = self._locator.place(event.client)
                events.append(structs.replace(event, country=country, asn=asn))
        if not events and not hits and len(numbers) > 1 and offset >= self._path(number).stat().st_size:
            return self.read(Position(numbers[1], 0), limit)
        return Read(events, hits, Position(number, offset))

    def forget(self, position: Position) -> None:
        """Delete files that are used up."""
        for number in self._numbers():
            if number < position.file:
                self._path(number).unlink(missing_ok=True)


def _text(field: bytes) -> str:
    """Decode one base64 field; HAProxy writes nothing for what a request does not have."""
    try:
        return base64.b64decode(field, validate=True).decode(errors="replace")
    except binascii.Error:
        return ""


def _number(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return 0.0


def parse_hits(line: bytes) -> dict[tuple[str, int], int]:
    """Return {(custom rule, hour): requests} that a line tells (lua/hits.lua); lines of one thread never overlap."""
    if b" hits:" not in line or (found := _HITS.match(line)) is None:
        return {}
    hour = int(found["time"]) // HOUR_SECONDS * HOUR_SECONDS
    pairs = (part.split("=") for part in found["hits"].decode().split(","))
    return {(rule, hour): int(count) for rule, count in pairs}


def parse_line(line: bytes) -> protocol.Event | None:
    """Return the event of one log line (log-format in haproxy.cfg.j2), or None for other lines."""
    fields = line.rstrip(b"\n").split(b" ")
    if len(fields) not in _FIELDS or fields[0] != b"answer" or fields[7] not in _ACTIONS:
        return None
    request_id, timestamp, domain_id, client, score = fields[8:13]
    rules, matched, method, host, path, query, agent, place = (_text(field) for field in [*fields[13:], b""][:8])
    return protocol.Event(
        request_id=request_id.decode(errors="replace")[:64],
        time=_number(timestamp),
        domain_id=domain_id.decode(errors="replace"),
        client=client.decode(errors="replace"),
        action=_ACTIONS[fields[7]],
        score=max(int(_number(score)), 0),
        rules=tuple(rule for rule in rules.split(",") if rule),
        matched=matched,
        place=place,
        method=method,
        host=host,
        path=path,
        query=query,
        user_agent=agent,
    )
