"""What may be a hostname and what may be an origin's address. Each function returns the canonical form."""

import ipaddress
import re

import idna

from lumos.addresses import unusable_as_origin
from lumos.errors import InvalidInput
from lumos_agent.grammar import HOSTNAME_PATTERN

_HOSTNAME = re.compile(HOSTNAME_PATTERN)
# A name that ends in a number would be read as an IPv4 address by resolvers (WHATWG URL, section 3.5).
_ENDS_IN_NUMBER = re.compile(r"(?:\A|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?\Z")
SHOWN = 80


def _shown(text: str) -> str:
    """Return `text` safe and short enough for a message."""
    return ascii(text[:SHOWN])[1:-1] + ("…" if len(text) > SHOWN else "")


def canonical_hostname(text: str) -> str:
    """Return the A-label form in lower case without a trailing dot (RFC 1123, RFC 5891).

    Raises:
        InvalidInput: not a fully qualified hostname.
    """
    name = text.strip(" ").removesuffix(".")
    if _ENDS_IN_NUMBER.search(name) or ":" in name:
        raise InvalidInput(f"“{_shown(text)}” is an address; enter a hostname such as www.example.com.")
    try:
        ascii_name = idna.encode(name, uts46=True).decode() if not name.isascii() else name.lower()
    except idna.IDNAError as error:
        raise InvalidInput(f"“{_shown(text)}” is not a valid internationalised hostname ({error}).") from error
    if not _HOSTNAME.match(ascii_name):
        raise InvalidInput(
            f"“{_shown(text)}” is not a hostname. Use letters, digits, hyphens and dots, at least two labels of "
            "at most 63 characters, 253 in all, for example www.example.com."
        )
    return ascii_name


def canonical_served(text: str) -> str:
    """Return what a domain stands for: a hostname, ``*.`` and a hostname (one label below it), or ``*`` (any other).

    Raises:
        InvalidInput: it is none of them.
    """
    name = text.strip(" ")
    if name == "*":
        return name
    if name.startswith("*."):
        return f"*.{canonical_hostname(name[2:])}"
    return canonical_hostname(text)


def canonical_origin(text: str) -> str:
    """Return an IP address in canonical form, or a hostname (A-labels); “localhost” becomes 127.0.0.1.

    Raises:
        InvalidInput: no host can be reached there, or the spelling is ambiguous.
    """
    name = text.strip(" ").lower()
    if name in {"localhost", "localhost."}:
        return "127.0.0.1"
    unbracketed = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        ip = ipaddress.ip_address(unbracketed) if "%" not in unbracketed else None
    except ValueError:
        ip = None
    if ip is not None:
        if reason := unusable_as_origin(ip):
            raise InvalidInput(f"{ip} cannot be an origin: {reason}. Enter the address that your web server has.")
        mapped = getattr(ip, "ipv4_mapped", None)
        return str(mapped or ip)
    if _ENDS_IN_NUMBER.search(name) or ":" in name or "%" in name:
        raise InvalidInput(
            f"“{_shown(text)}” is not an address in the usual form. Write IPv4 as four decimal numbers (203.0.113.7), "
            "IPv6 as in 2001:db8::7, or use a hostname."
        )
    return canonical_hostname(text)
