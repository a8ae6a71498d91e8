"""What must pass a shield unharmed: WebSockets, HTTP/2 with trailers, big and slow bodies, interim answers."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from lumos_agent.schema import Policy
from lumos_agent.traffic import Traffic
from tests.agent.builders import Shield, config, domain
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"
BIG = 100 * 1024 * 1024
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def by_hand(answer: Serve) -> AsyncIterator[int]:
    """Run an origin that answers connections by hand."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, limit=1024 * 1024)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def opened(shield: Shield, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", shield.port, limit=1024 * 1024)
    writer.write("\r\n".join([lines[0], f"Host: {HOST}", *lines[1:]]).encode() + b"\r\n\r\n")
    return reader, writer


async def test_websocket_echo(shield: Shield) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await shield.applier.apply(config(1, domain(port=port)))
        async with connect(f"ws://{HOST}/chat", host="127.0.0.1", port=shield.port) as visitor:
            for message in ("hello", b"\x00" * 70_000, "x" * 200_000):
                await visitor.send(message)
                assert await visitor.recv() == message
            # An open tunnel outlives a reload.
            await shield.applier.apply(config(2, domain(port=port, traffic=Traffic(compression=True))))
            await visitor.send("still here")
            assert await visitor.recv() == "still here"


async def test_big_upload_and_download(shield: Shield) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
            for _ in range(BIG // 65_536):
                writer.write(b"d" * 65_536)
                await writer.drain()
            return
        digest, left = hashlib.sha256(), BIG
        while left:
            part = await reader.read(min(left, 1024 * 1024))
            digest.update(part)
            left -= len(part)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + digest.hexdigest().encode())

    async with by_hand(count) as port:
        await shield.applier.apply(config(1, domain(port=port)))
        reader, writer = await opened(shield, "PUT /big HTTP/1.1", f"Content-Length: {BIG}")
        expected = hashlib.sha256()
        for number in range(BIG // 65_536):
            part = bytes([number % 251]) * 65_536
            expected.update(part)
            writer.write(part)
            await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(64) == expected.hexdigest().encode()
        writer.close()
        reader, writer = await opened(shield, "GET /big HTTP/1.1", "Connection: close")
        await reader.readuntil(b"\r\n\r\n")
        size = 0
        while part := await reader.read(1024 * 1024):
            size += len(part)
        writer.close()
        assert size == BIG


async def test_chunked_body_with_trickling_client(shield: Shield) -> None:
    bodies: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        bodies.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")

    async with by_hand(collect) as port:
        await shield.applier.apply(config(1, domain(port=port)))
        reader, writer = await opened(shield, "POST /x HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close")
        for byte in b"5\r\nhello\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = await reader.read(-1)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 201")
        assert answer.endswith(b"2\r\nok\r\n0\r\n\r\n")
        # HAProxy may cut the chunks anew; what is in them is the body (RFC 9112, 7.1).
        assert b"".join(bodies[0].split(b"\r\n")[1::2]) == b"hello"


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json"])
async def test_expect_continue_and_early_hints(shield: Shield, kind: str) -> None:
    is_read = kind == "application/json"

    async def interim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert (b"expect: 100-continue" in head) is not is_read, "a body that the shield reads is asked for once"
        if not is_read:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with by_hand(interim) as port:
        await shield.applier.apply(config(1, domain(port=port)))
        heads = (f"Content-Type: {kind}", "Content-Length: 4", "Expect: 100-continue")
        reader, writer = await opened(shield, "POST / HTTP/1.1", *heads)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"body")
        hints = await reader.readuntil(b"\r\n\r\n")
        assert hints.startswith(b"HTTP/1.1 103")
        assert b"</a.css>" in hints
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"ok"
        writer.close()


async def test_half_closed_client_gets_its_answer(shield: Shield) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async with by_hand(slow) as port:
        await shield.applier.apply(config(1, domain(port=port)))
        reader, writer = await opened(shield, "GET / HTTP/1.1", "Connection: close")
        writer.write_eof()
        answer = await reader.read(-1)
        writer.close()
        assert answer.endswith(b"late")


async def _serve_h2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with the bytes that it sent and a trailer, as gRPC does."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    while data := await reader.read(65_536):
        for event in connection.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                case h2.events.DataReceived():
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    connection.send_data(event.stream_id, event.data)
                case h2.events.StreamEnded():
                    connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        writer.write(connection.data_to_send())
        await writer.drain()


async def over_tls(shield: Shield) -> tuple[Shield, int]:
    """Give a shield an HTTPS port."""
    https = free_port()
    settings = shield.state.settings()
    settings.https = (f"127.0.0.1:{https}",)
    shield.state.save_settings(settings)
    return Shield(shield.state.root), https


@asynccontextmanager
async def http2_visitor(
    shield: Shield, https: int
) -> AsyncIterator[tuple[h2.connection.H2Connection, asyncio.StreamReader, asyncio.StreamWriter]]:
    shield.haproxy.stop()
    await shield.haproxy.end_master()
    await shield.applier.repair()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", https, ssl=context, server_hostname=HOST)
    visitor = h2.connection.H2Connection()
    visitor.initiate_connection()
    yield visitor, reader, writer
    writer.close()


async def test_http2_streams_both_ways_with_trailers(shield: Shield) -> None:
    shield, https = await over_tls(shield)
    async with by_hand(_serve_h2) as port:
        await shield.applier.apply(config(1, domain(port=port, traffic=Traffic(origin_http2=True))))
        async with http2_visitor(shield, https) as (visitor, reader, writer):
            request = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/s.Echo/Talk")]
            visitor.send_headers(1, [*request, ("te", "trailers"), ("content-type", "application/grpc")])
            writer.write(visitor.data_to_send())
            echoed, trailers = await _talk(visitor, reader, writer, [b"one", b"two"])
            assert (echoed, trailers) == ([b"one", b"two"], {b"grpc-status": b"0"})


async def test_websocket_over_http2(shield: Shield) -> None:
    """As browsers open it where HTTP/2 is spoken (RFC 8441)."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))[18:]
        accept = accept_key(key.strip().decode()).encode()
        heads = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + heads + b"\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)

    shield, https = await over_tls(shield)
    async with by_hand(upgrade) as port:
        await shield.applier.apply(config(1, domain(port=port, policy=Policy(level="high"))))
        async with http2_visitor(shield, https) as (visitor, reader, writer):
            request = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST)]
            visitor.send_headers(1, [*request, (":path", "/chat"), ("sec-websocket-version", "13")])
            writer.write(visitor.data_to_send())
            assert (await _talk(visitor, reader, writer, [b"one", b"two"]))[0] == [b"one", b"two"]


async def _talk(
    visitor: h2.connection.H2Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    messages: list[bytes],
) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Send each message only after the one before it has come back; returns what came, and the trailers."""
    waiting, echoed, trailers = list(messages), [], {}
    ended = False
    while not ended:
        async with asyncio.timeout(10):
            events = visitor.receive_data(await reader.read(65_536))
        for event in events:
            match event:
                case h2.events.ResponseReceived() | h2.events.DataReceived():
                    if isinstance(event, h2.events.DataReceived) and event.data:
                        echoed.append(bytes(event.data))
                    if waiting and len(echoed) == len(messages) - len(waiting):
                        visitor.send_data(1, waiting.pop(0), end_stream=not waiting)
                case h2.events.TrailersReceived():
                    trailers = dict(event.headers)
                case h2.events.StreamEnded():
                    ended = True
        writer.write(visitor.data_to_send())
    return echoed, trailers
