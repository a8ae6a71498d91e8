"""The one HTTP client for URLs that people enter.

A URL must not make the control plane talk to its own network: every address that a name has must be public in each
spelling, the connection goes to the address that was checked, and redirects are checked like the first URL, or not
followed at all. One clock bounds a whole exchange, whatever the other side does with it.
"""

import contextlib
import http.client
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import SplitResult, urljoin, urlsplit

from django.conf import settings

from lumos.addresses import Ip, is_public
from lumos.errors import AppError, InvalidInput

_HOSTNAME = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
FETCH_SECONDS = 20.0
FETCH_BYTES_MAX = 10 * 1024 * 1024
REDIRECTS_MAX = 5
PORTS = frozenset({80, 443})
_REDIRECTS = {301, 302, 303, 307, 308}
_CHUNK = 64 * 1024

Resolve = Callable[[str, int], list[str]]


class FetchError(AppError):
    """A URL that people entered could not be fetched, or must not be; the same may pass later."""

    status = 502
    code = "fetch"
    title = "The URL could not be fetched"
    retryable = True


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """An answer. `body` is None when the content is the one of the ETag that was asked for."""

    body: bytes | None
    etag: str


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where a fetch may go, and how names become addresses; tests widen it to loopback servers of their own."""

    admits: Callable[[Ip], bool] = is_public
    ports: Collection[int] | None = PORTS
    resolve: Resolve | None = None
    seconds: float = FETCH_SECONDS
    bytes_max: int = FETCH_BYTES_MAX


def system_resolver(hostname: str, port: int) -> list[str]:
    """Return all addresses of a name, as the system's resolver has them."""
    rows = socket.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def checked_url(url: str, ports: Collection[int] | None = PORTS) -> SplitResult:
    """Return the parts of a URL that may be fetched.

    Raises:
        InvalidInput: says what to change.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        hostname = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise InvalidInput(f"This is no URL: {error}.", field="url") from error
    if parts.scheme not in ("http", "https") or not hostname or not url.isprintable() or " " in url:
        raise InvalidInput("Enter a whole URL such as https://lists.example.com/deny.txt.", field="url")
    if not _HOSTNAME.fullmatch(hostname):
        raise InvalidInput(f"“{hostname[:60]}” is no hostname; zone ids and escapes are not allowed.", field="url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("Take user name and password out of the URL.", field="url")
    if ports is not None and (port or _default_port(parts)) not in ports:
        raise InvalidInput("Only the ports 80 and 443 can be fetched from.", field="url")
    return parts


def _default_port(parts: SplitResult) -> int:
    return 443 if parts.scheme == "https" else 80


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent; `Host`, `User-Agent` and `Connection` are added."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


def fetch(url: str, *, etag: str = "", reach: Reach | None = None) -> Fetched:
    """Return what a GET of `url` answers, unless it is what `etag` stands for.

    Raises:
        FetchError: not reachable, not allowed, too slow, too large, or no 200.
        InvalidInput: no URL that may be fetched.
    """
    reach = reach or Reach()
    deadline = time.monotonic() + reach.seconds
    headers = {"Accept": "text/plain, */*"} | ({"If-None-Match": etag} if etag else {})
    for _ in range(REDIRECTS_MAX + 1):
        parts = checked_url(url, reach.ports)
        with _answer(parts, Request(headers=headers), reach, deadline) as answer:
            if answer.status in _REDIRECTS and (target := answer.getheader("Location")):
                url = _redirected(url, target)
                continue
            if answer.status == http.client.NOT_MODIFIED and etag:
                return Fetched(body=None, etag=etag)
            if answer.status != http.client.OK:
                raise FetchError(f"{parts.hostname} answered with status {answer.status}.")
            return Fetched(body=_body(answer, reach, deadline), etag=(answer.getheader("ETag") or "")[:200])
    raise FetchError(f"More than {REDIRECTS_MAX} redirects.")


def _redirected(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError as error:
        raise FetchError(f"A redirect leads to no URL: {error}.") from error


@dataclass(frozen=True, kw_only=True)
class Posted:
    """How a POST was answered: the status, and the beginning of the body."""

    status: int
    retry_after: str
    body: bytes


def post(url: str, *, body: bytes, headers: Mapping[str, str], reach: Reach | None = None) -> Posted:
    """Send `body` and return the answer, of whatever status; redirects are not followed.

    Of the answer's body up to `reach.bytes_max` bytes are read, as far as it arrives in time; the rest does not matter.

    Raises:
        FetchError: not reachable, not allowed, or no answer in time.
        InvalidInput: no URL that may be fetched.
    """
    reach = reach or Reach()
    deadline = time.monotonic() + reach.seconds
    parts = checked_url(url, reach.ports)
    with _answer(parts, Request(method="POST", headers=headers, body=body), reach, deadline) as answer:
        found = bytearray()
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while len(found) < reach.bytes_max and (chunk := answer.read1(reach.bytes_max - len(found))):
                found += chunk
        retry_after = (answer.getheader("Retry-After") or "")[:40]
        return Posted(status=answer.status, retry_after=retry_after, body=bytes(found))


@contextlib.contextmanager
def _answer(parts: SplitResult, request: Request, reach: Reach, deadline: float) -> Iterator[http.client.HTTPResponse]:
    hostname, port = (parts.hostname or "").encode("idna").decode(), parts.port or _default_port(parts)
    with contextlib.ExitStack() as stack:
        try:
            raw = connected(_checked_addresses(hostname, port, reach, deadline), port, deadline)
            stack.enter_context(bounded(raw, deadline))
            connection = http.client.HTTPConnection(hostname, port)
            connection.default_port = _default_port(parts)  # what the Host header need not say
            stack.callback(connection.close)
            is_tls = parts.scheme == "https"
            connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=hostname) if is_tls else raw
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"User-Agent": "Lumos", "Connection": "close", **request.headers}
            connection.request(request.method, target, body=request.body, headers=headers)
            answer = connection.getresponse()
            if time.monotonic() >= deadline:
                raise TimeoutError  # the library takes headers that end early for complete
            yield answer
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            if time.monotonic() >= deadline:
                raise FetchError(f"{hostname} did not answer within {reach.seconds:.0f} s.") from error
            raise FetchError(f"{hostname}: {error or type(error).__name__}.") from error


@contextlib.contextmanager
def bounded(raw: socket.socket, deadline: float) -> Iterator[None]:
    """Close a connection at the end, and hang up at the deadline whatever is going on."""
    # TLS takes the socket over, so the clock holds a second handle of the connection.
    with raw, raw.dup() as handle:
        clock = threading.Timer(max(deadline - time.monotonic(), 0.1), _hang_up, [handle])
        clock.daemon = True
        clock.start()
        try:
            yield
        finally:
            clock.cancel()


def connected(addresses: list[str], port: int, deadline: float) -> socket.socket:
    """Return a connection to the first of checked addresses that takes one."""
    for number, address in enumerate(addresses, 1):
        left = max(deadline - time.monotonic(), 0.1)
        try:
            return socket.create_connection((address, port), timeout=left)
        except OSError:
            if number == len(addresses) or time.monotonic() >= deadline:
                raise
    raise OSError("no address")


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _resolved(hostname: str, port: int, reach: Reach, deadline: float) -> list[str]:
    """Ask the resolver in a thread of its own: a name server that is slow on purpose costs no more than the time."""
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put((reach.resolve or system_resolver)(hostname, port))
        except Exception as error:
            answer.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=max(deadline - time.monotonic(), 0.1))
    except queue.Empty as error:
        raise FetchError(f"The name servers of {hostname} did not answer within {reach.seconds:.0f} s.") from error
    if isinstance(found, OSError | UnicodeError) or not found:
        raise FetchError(f"{hostname} has no address.")
    if isinstance(found, Exception):
        raise found
    return found


def _checked_addresses(hostname: str, port: int, reach: Reach, deadline: float) -> list[str]:
    """Return the addresses to connect to; all addresses of the name must be allowed."""
    addresses = _resolved(hostname, port, reach, deadline)
    for address in addresses:
        if "%" in address or not reach.admits(ipaddress.ip_address(address)):
            named = "" if hostname == address else f"{hostname} is {address}, which"
            raise FetchError(f"{named or address} is no address of the public Internet.")
    return addresses


def _body(answer: http.client.HTTPResponse, reach: Reach, deadline: float) -> bytes:
    if (answer.getheader("Content-Encoding") or "identity") != "identity":
        raise FetchError("The answer is compressed although that was not asked for.")
    body = bytearray()
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > reach.bytes_max:
            raise FetchError(f"The answer has more than {reach.bytes_max // 1024 // 1024} MB.")
    if time.monotonic() >= deadline:
        raise FetchError(f"The answer did not end within {reach.seconds:.0f} s.")
    if answer.length:
        raise FetchError("The answer ended too early.")
    return bytes(body)


_OWN_SECONDS = 600


def own_addresses() -> frozenset[str]:
    """Return the addresses of the dashboard and the gateway, asked for every ten minutes."""
    return _own_addresses(int(time.monotonic() // _OWN_SECONDS))


@lru_cache(maxsize=1)
def _own_addresses(period: int) -> frozenset[str]:
    found: set[str] = set()
    for url in (settings.PUBLIC_URL, settings.GATEWAY_URL):
        with contextlib.suppress(OSError):
            found.update(system_resolver(urlsplit(url).hostname or "localhost", 0))
    return frozenset(found)
