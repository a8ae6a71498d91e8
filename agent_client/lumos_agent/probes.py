"""Probes of shields: does a public address still lead to the shield that it should lead to?

Every shield answers `ALIVE_PATH` on its HTTP listeners with the HMAC of the query under its own probe key, so neither a
captive portal nor another server that got its address is taken for it. The request passes the worker that visitors use.
"""

import asyncio
import base64
import errno
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable

from msgspec import Struct

from lumos_agent import protocol

ALIVE_PATH = "/.well-known/lumos/alive"
ANSWER_SECONDS = 3.0
_ANSWER_BYTES_MAX = 4096
# This machine has no way there: it says nothing about the shield.
_NO_WAY = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN}


class Target(Struct, frozen=True):
    """One address of a shield. `key` is its probe key in Base64."""

    server: str
    address: str
    port: int
    key: str


class Seen(Struct, frozen=True, kw_only=True):
    """How one probe went; `reason` says why it failed."""

    is_ok: bool
    reason: str = ""
    seconds: float = 0.0


def new_key() -> str:
    """Return a probe key, 32 bytes in Base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def proof(key: str, query: str) -> str:
    """Return what the shield that has `key` answers to `query`: upper-case hex, as HAProxy's `hex` writes it."""
    return hmac.new(base64.b64decode(key), query.encode(), hashlib.sha256).hexdigest().upper()


async def probe(target: Target) -> Seen | None:
    """Ask one address once; None if this machine has no way to it."""
    began = time.monotonic()
    stage = "no connection"
    query = secrets.token_hex(16)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(target.address, target.port)
            stage = "no HTTP answer"
            host = f"[{target.address}]" if ":" in target.address else target.address
            writer.write(f"GET {ALIVE_PATH}?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await _all_of(reader)
    except TimeoutError:
        return Seen(is_ok=False, reason=f"{stage} within {ANSWER_SECONDS:.0f} s")
    except OSError as error:
        return None if error.errno in _NO_WAY else Seen(is_ok=False, reason=_words(error))
    finally:
        if writer is not None:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not hmac.compare_digest(body.strip(), proof(target.key, query).encode()):
        status = head.split(b"\r\n", 1)[0].decode("ascii", "replace")[:40]
        return Seen(is_ok=False, reason=f"another server answers: {status}" if head else "closed without an answer")
    return Seen(is_ok=True, seconds=round(time.monotonic() - began, 3))


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    while len(answer) < _ANSWER_BYTES_MAX and (part := await reader.read(_ANSWER_BYTES_MAX)):
        answer += part
    return answer


def targets_of(peers: Iterable[protocol.Peer]) -> list[Target]:
    """Return every address of every peer."""
    return [Target(peer.server_id, address, peer.port, peer.key) for peer in peers for address in peer.addresses]
