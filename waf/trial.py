"""Trying a request against a domain's policy: the engine of the shields, in a process with limits of its own."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from domains.models import Domain
from lumos.errors import Busy, InvalidInput
from lumos_agent.errors import AgentError
from lumos_agent.schema import Policy
from lumos_agent.waf_try import REQUEST_BYTES_MAX, Trial, judge
from waf.compiler import policy_parts

AT_ONCE = 2
WAIT_SECONDS = 5
_running = threading.BoundedSemaphore(AT_ONCE)
_SAFE_IN_URL = "/?#[]@!$&'()*+,;=:%-._~|{}^`\"<>\\"


@contextmanager
def one_of_few() -> Iterator[None]:
    """Let few try something at once.

    Raises:
        Busy: too many do.
    """
    if not _running.acquire(timeout=WAIT_SECONDS):
        raise Busy("Other requests are being tried right now; try again in a few seconds.")
    try:
        yield
    finally:
        _running.release()


def raw_request(*, method: str, url: str, headers: Mapping[str, str], body: str) -> bytes:
    """Return a raw HTTP/1.1 request made of its parts; characters that no URL has are percent-encoded.

    Raises:
        InvalidInput: a part would end its line.
    """
    split = urlsplit(url)
    target = quote((split.path or "/") + (f"?{split.query}" if split.query else ""), safe=_SAFE_IN_URL)
    lines = [f"{method.upper()} {target} HTTP/1.1"]
    if split.netloc:
        lines.append(f"Host: {split.netloc}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise InvalidInput("A header is one line; put each into a line of its own.", field="headers")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body.encode()


def try_request(*, domain: Domain, request: bytes) -> tuple[Trial, Policy]:
    """Return what a shield would say about a raw request, and the policy that it says so by.

    Raises:
        InvalidInput: the request is empty, too large, or takes too much time.
        Busy: too many try at once.
    """
    if not request.strip():
        raise InvalidInput("Paste a request, beginning with a line such as GET /search?q=1 HTTP/1.1.", field="request")
    if len(request) > REQUEST_BYTES_MAX:
        raise InvalidInput(f"A request to try has at most {REQUEST_BYTES_MAX // 1024} KB.", field="request")
    policy = policy_parts([domain.pk])[domain.pk]
    with one_of_few():
        try:
            return judge(request, policy), policy
        except AgentError as error:
            raise InvalidInput(f"This could not be tried: {error}.", field="request") from error
