"""Many domains as lines of text: `hostname origin[:port] [https]`, or the same with commas."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from domains.validators import canonical_origin, canonical_served
from lumos.errors import AppError, InvalidInput
from lumos_agent.document import ConfigDocument, ConfigDomain, ConfigOrigin
from lumos_agent.schema import DOMAINS_MAX

_SEPARATORS = re.compile(r"[\s,;]+")
_HEADINGS = {"hostname", "domain", "host"}
_PROTOCOLS: dict[str, Literal["off", "on", "verify"]] = {"http": "off", "https": "on", "verify": "verify"}
_EXPECTED = "Write a hostname, a space and an origin: www.example.com 203.0.113.7:8080 https"
SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class LineError:
    """What is wrong with one line, counted from 1."""

    line: int
    text: str
    message: str


def parsed_lines(text: str, servers: Sequence[str], taken: frozenset[str]) -> tuple[ConfigDocument, list[LineError]]:
    """Return a document of the lines that are right, each on `servers`, and what is wrong with the others.

    `taken` are hostnames that the account has. Empty lines, headings and what follows # are skipped.
    """
    found: dict[str, ConfigDomain] = {}
    seen: dict[str, int] = {}
    errors = []
    for number, line in enumerate(text.splitlines(), 1):
        words = [word.strip('"') for word in _SEPARATORS.split(line.partition("#")[0]) if word]
        if not words or words[0].lower() in _HEADINGS:
            continue
        try:
            domain = _domain(words, servers)
            if domain.hostname in taken:
                raise InvalidInput(f"{domain.hostname} exists in this account; edit it there.")
            if (first := seen.setdefault(domain.hostname, number)) != number:
                raise InvalidInput(f"{domain.hostname} is on line {first} already.")
            if len(found) >= DOMAINS_MAX:
                raise InvalidInput(f"More than {DOMAINS_MAX} lines; add the rest in a second step.")
            found[domain.hostname] = domain
        except AppError as error:
            errors.append(LineError(line=number, text=line[:SHOWN], message=error.detail))
    return ConfigDocument(version=1, domains=tuple(found.values())), errors


def _domain(words: Sequence[str], servers: Sequence[str]) -> ConfigDomain:
    if len(words) < 2:
        raise InvalidInput(f"There is no origin. {_EXPECTED}")
    hostname = canonical_served(words[0])
    address, port = _address_and_port(words[1])
    tls = _PROTOCOLS["http"]
    for word in words[2:]:
        if word.lower() in _PROTOCOLS:
            tls = _PROTOCOLS[word.lower()]
        elif word.isascii() and word.isdigit() and port is None:
            port = _port(word)
        else:
            raise InvalidInput(f"“{word[:SHOWN]}” is not known here. {_EXPECTED}")
    standard = 80 if tls == "off" else 443
    origin = ConfigOrigin(address=canonical_origin(address), port=port or standard, tls=tls)
    return ConfigDomain(hostname=hostname, origins=(origin,), servers=tuple(servers))


def _address_and_port(text: str) -> tuple[str, int | None]:
    """Split host:port and [IPv6]:port; a bare IPv6 address has no port."""
    address, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in address and not address.endswith("]")):
        return text, None
    return address, _port(port)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise InvalidInput(f"“{text[:SHOWN]}” is no port; use a number from 1 to 65535.")
    return int(text)
