"""The client for URLs that people enter: what it refuses, and that it stays within its limits."""

import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lumos.addresses import is_public
from lumos.errors import InvalidInput
from lumos.net import FetchError, Reach, checked_url, fetch

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve on a loopback address; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    made = ThreadingHTTPServer((address, 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made.server_port
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def says(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def local(**limits: float) -> Reach:
    return Reach(
        admits=lambda ip: ip.is_loopback,
        ports=None,
        resolve=lambda name, port: ["127.0.0.1" if name == "lists.example" else name],
        **limits,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "172.16.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "2001:db8::1", "::ffff:0:7f00:1",
    ],
)  # fmt: skip
def test_no_other_network_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "", "lists.example", "file:///etc/passwd", "ftp://lists.example/", "gopher://lists.example/", "http://",
        "http://a:b@lists.example/", "http://lists.example:22/", "http://lists.example:99999/", "http://lists.example/\r\nX: y",
        "https://lists.example:80443/", "http://[::1/",
    ],
)  # fmt: skip
def test_urls_that_are_refused_at_the_door(url: str) -> None:
    with pytest.raises(InvalidInput):
        checked_url(url)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]", "localhost"],
)
def test_own_network_in_every_spelling_is_refused(host: str) -> None:
    with pytest.raises(FetchError):
        fetch(f"http://{host}/")


def test_one_private_address_among_public_ones_is_refused() -> None:
    reach = Reach(resolve=lambda name, port: ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(FetchError, match=r"10\.0\.0\.1"):
        fetch("http://rebound.example/", reach=reach)


def test_name_is_resolved_once_and_the_connection_goes_there() -> None:
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with server(says(b"192.0.2.1\n", ETag='"1"')) as port:
        reach = Reach(admits=lambda ip: ip.is_loopback, ports=None, resolve=resolve)
        found = fetch(f"http://lists.example:{port}/a?b=c", reach=reach)
    assert (found.body, found.etag, asked) == (b"192.0.2.1\n", '"1"', ["lists.example"])


def test_redirects_are_checked_like_the_first_url() -> None:
    metadata = says(b"", 302, Location="http://169.254.169.254/latest/meta-data/")
    with server(metadata) as port, pytest.raises(FetchError, match="169"):
        fetch(f"http://lists.example:{port}/", reach=local())
    with server(says(b"", 302, Location="file:///etc/passwd")) as port, pytest.raises(InvalidInput):
        fetch(f"http://lists.example:{port}/", reach=local())
    with server(says(b"", 301, Location="/again")) as port, pytest.raises(FetchError, match="redirects"):
        fetch(f"http://lists.example:{port}/", reach=local())


def test_content_that_is_known_is_not_sent_again() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        says(b"", 304)(handler) if handler.headers["If-None-Match"] == '"1"' else says(b"x")(handler)

    with server(answer) as port:
        assert fetch(f"http://lists.example:{port}/", etag='"1"', reach=local()).body is None
        assert fetch(f"http://lists.example:{port}/", reach=local()).body == b"x"


def test_limits_of_size_and_time() -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.send_response(200)
            handler.end_headers()
            for _ in range(100):
                handler.wfile.write(b"1")
                time.sleep(0.05)
        except OSError:
            pass

    with server(says(b"x" * 2000)) as port, pytest.raises(FetchError, match="MB"):
        fetch(f"http://lists.example:{port}/", reach=local(bytes_max=1000))
    with server(trickle) as port, pytest.raises(FetchError, match="within"):
        fetch(f"http://lists.example:{port}/", reach=local(seconds=0.5))
    with server(says(b"", 500)) as port, pytest.raises(FetchError, match="status 500"):
        fetch(f"http://lists.example:{port}/", reach=local())
    with server(says(b"x", 200, **{"Content-Encoding": "gzip"})) as port, pytest.raises(FetchError, match="compressed"):
        fetch(f"http://lists.example:{port}/", reach=local())
    with server(says(b"x", 200, **{"Content-Length": "10"})) as port, pytest.raises(FetchError):
        fetch(f"http://lists.example:{port}/", reach=local(seconds=1))
