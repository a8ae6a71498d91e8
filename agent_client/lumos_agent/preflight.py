"""Would the CA reach this domain's shields? Asked before an order, so that no limit of the CA is wasted."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from lumos_agent.dns import NoAnswer
from lumos_agent.errors import NotReachable

CONNECT_SECONDS = 5.0
ADDRESSES_MAX = 4
CHALLENGE_PATH = "/.well-known/acme-challenge/"

Resolve = Callable[[str], Awaitable[list[str]]]
Texts = Callable[[str], Awaitable[list[str]]]


async def resolve(hostname: str) -> list[str]:
    """Return the addresses of a hostname; empty if it has none.

    Raises:
        OSError: the resolver does not answer.
    """
    loop = asyncio.get_running_loop()
    try:
        rows = await loop.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        return []
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


async def check(hostname: str, token: str, expected: str, *, port: int, resolver: Resolve) -> None:
    """Fetch a probe that all shields of the domain answer, at every address that DNS gives.

    Raises:
        NotReachable: says what to change.
    """
    try:
        addresses = await resolver(hostname)
    except OSError as error:
        raise NotReachable(f"DNS does not answer on this shield, so {hostname} cannot be looked up.") from error
    if not addresses:
        raise NotReachable(f"DNS has no address for {hostname}. Point its A or AAAA record to this shield.")
    for address in addresses[:ADDRESSES_MAX]:
        await _check_address(hostname, address, port, token, expected)


async def check_text(name: str, expected: str, texts: Texts) -> None:
    """Look a probe up that all shields of the zone answer.

    Raises:
        NotReachable: says what to change.
    """
    try:
        found = await texts(name)
    except NoAnswer as error:
        raise NotReachable(f"DNS does not answer on this shield, so {name} cannot be looked up.") from error
    if expected not in found:
        raise NotReachable(
            f"DNS does not lead to this zone's shields for {name}. Enter their name servers at your registrar; "
            "“Check now” on the zone's page says what is missing."
        )


async def _check_address(hostname: str, address: str, port: int, token: str, expected: str) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                request = f"GET {CHALLENGE_PATH}{token} HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read(16_384)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or "no answer in time"
        raise NotReachable(
            f"Port {port} of {address} (the address of {hostname}) does not answer: {reason}. "
            "Open it in the firewall; the CA checks the name there."
        ) from error
    if not answer.endswith(b"\r\n\r\n" + expected.encode()):
        raise NotReachable(
            f"{hostname} leads to {address}, which is none of this domain's shields. Point its DNS record to them."
        )
