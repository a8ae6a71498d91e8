"""The requests that were sent to the bot check, in the lines that HAProxy logs."""

import base64
import binascii
import re
from collections.abc import Iterator

from msgspec import Struct

# Up to the user agent, in the order of haproxy.cfg.j2; HAProxy writes nothing for what a request does not have.
_LINE = re.compile(
    rb"(?m)^answer (?:\S+ ){6}challenge (?:\S+ ){2}(?P<domain>[0-9a-f-]{36}) (?P<client>\S+) (?:\S* ){7}(?P<agent>\S*)"
)


class Challenged(Struct, frozen=True):
    """One such request; `client` is an address as HAProxy writes it."""

    domain_id: str
    client: str
    user_agent: str


def challenged_in(lines: bytes) -> Iterator[Challenged]:
    """Yield what whole lines tell of challenges."""
    for line in _LINE.finditer(lines):
        try:
            agent = base64.b64decode(line["agent"], validate=True).decode(errors="replace")
        except binascii.Error:
            agent = ""
        yield Challenged(line["domain"].decode(), line["client"].decode(errors="replace"), agent)
