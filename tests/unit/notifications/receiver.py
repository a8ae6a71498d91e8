"""Receivers of webhooks on loopback, of good and bad manners."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Manner = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What a receiver got; `manner` may be changed while it runs. `arrived` is released once per request."""

    port: int = 0
    manner: Manner = field(default=lambda handler: answer(handler, 204))
    requests: list[Received] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://hooks.example:{self.port}/in"

    def ids(self) -> list[str]:
        """Return the message ids, in the order of arrival."""
        return [request.headers["webhook-id"] for request in self.requests]


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer in full."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def says(status: int, body: bytes = b"", **headers: str) -> Manner:
    """Return a manner that always answers the same."""
    return lambda handler: answer(handler, status, body, **headers)


def closes_early(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without an answer."""
    handler.close_connection = True


def never_ends(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200 and go on for as long as somebody listens."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65536)


@contextlib.contextmanager
def receiver(address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serve on a loopback address until the end of the block."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.requests.append(Received(headers={k.lower(): v for k, v in self.headers.items()}, body=body))
            made.arrived.release()
            with contextlib.suppress(OSError):
                made.manner(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer((address, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
