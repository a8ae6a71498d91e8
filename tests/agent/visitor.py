"""Visitors and an origin for tests of the shield."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple


class Gate:
    """Holds the answers of an origin: `reached` once a request waits at it, until `opened`."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


@asynccontextmanager
async def origin(
    text: bytes = b"hello",
    *,
    headers: tuple[str, ...] = ("Content-Type: text/plain",),
    proxy_protocol: bool = False,
    delay_seconds: float = 0,
    gate: Gate | None = None,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve `text` followed by the request's head, as the origin saw it; yields the port."""
    extra = "".join(f"{header}\r\n" for header in headers).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readline() if proxy_protocol else b""
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if length := _length_of(head):
                    await reader.readexactly(length)
                await asyncio.sleep(delay_seconds)
                if gate is not None:
                    gate.reached.set()
                    await gate.opened.wait()
                body = text + b"\n" + first + head
                writer.write(b"HTTP/1.1 200 OK\r\n" + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _length_of(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


class Answer(NamedTuple):
    """Status, headers by lower-case name, and the body's bytes as they came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode(errors="replace")

    def unchunked(self) -> bytes:
        """Return the body without the chunks' sizes (RFC 9112, 7.1)."""
        result, rest = b"", self.body
        while rest and (size := int(rest.partition(b"\r\n")[0], 16)):
            data = rest.partition(b"\r\n")[2]
            result, rest = result + data[:size], data[size + 2 :]
        return result


async def request(port: int, host: str, path: str = "/", *headers: str, body: bytes = b"") -> Answer:
    """Return the answer to one request on a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    if any(header.startswith("Connection:") for header in headers):
        lines.remove("Connection: close")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        named = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        length = named.get("content-length")
        content = await (reader.readexactly(int(length)) if length is not None else reader.read(-1))
    writer.close()
    return Answer(int(status.split()[1]), named, content)


async def get(port: int, host: str, path: str = "/", *headers: str) -> tuple[int, str]:
    """Return (status, everything after the status line) of one request on a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    writer.close()
    head, _, rest = answer.partition(b"\r\n")
    return int(head.split()[1]) if head else 0, rest.decode(errors="replace")
