"""Visitors and an origin for tests of the shield."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def origin(text: bytes = b"hello") -> AsyncIterator[int]:
    """Serve `text` followed by the request's head, as the origin saw it; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = text + b"\n" + head
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


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
