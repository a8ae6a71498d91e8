"""DNS zones as a snapshot holds them: what shields answer, with no text that could end a line or a word elsewhere.

Owners are relative to the zone, in lower case, ``@`` for the zone itself; names in data are absolute, with a final dot.
Addresses of proxied names are those of shields; origins never appear here.
"""

import ipaddress
import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lumos_agent.grammar import Id

ZONES_MAX = 5_000
RECORDS_MAX = 20_000
NAMESERVERS_MAX = 13
ADDRESSES_MAX = 100
WEIGHT_MAX = 255  # what the weighted mode of Knot's geoip module takes
TTL_MIN, TTL_MAX = 1, 7 * 86_400
KEY_TTL = 3600  # seconds for which resolvers remember the keys of a signed zone

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = rf"(?=.{{1,254}}\Z)(?:{_LABEL}\.)+"
_BYTE = r"[\x21\x23-\x5b\x5d-\x7e ]|\\[0-9]{3}|\\[\"\\]"
_CHARACTERS = rf"\"(?:{_BYTE}){{0,255}}\""
OWNER_PATTERN = rf"\A(?:@|\*|(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)*{_LABEL})\Z"
_PATTERNS = {
    "A": r"[0-9.]{7,15}",
    "AAAA": r"[0-9a-f.:]{2,45}",
    "CNAME": _NAME,
    "NS": _NAME,
    "MX": rf"[0-9]{{1,5}} (?:{_NAME}|\.)",
    "SRV": rf"[0-9]{{1,5}} [0-9]{{1,5}} [0-9]{{1,5}} (?:{_NAME}|\.)",
    "TXT": rf"{_CHARACTERS}(?: {_CHARACTERS}){{0,31}}",
    "CAA": rf"[0-9]{{1,3}} [a-z0-9]{{1,15}} \"(?:{_BYTE}){{0,1024}}\"",
}
_COMPILED = {kind: re.compile(rf"\A{pattern}\Z") for kind, pattern in _PATTERNS.items()}

Owner = Annotated[str, Meta(pattern=OWNER_PATTERN, max_length=253)]
ZoneName = Annotated[str, Meta(pattern=rf"\A(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}\Z", max_length=253)]
Kind = Literal["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "CAA"]
Ttl = Annotated[int, Meta(ge=TTL_MIN, le=TTL_MAX)]
Weight = Annotated[int, Meta(ge=0, le=WEIGHT_MAX)]
Serial = Annotated[int, Meta(ge=1, le=2**32 - 1)]
IpText = Annotated[str, Meta(pattern=r"\A[0-9a-f.:]{2,45}\Z")]
# The key with which a shield signs a zone, as its DNSKEY record has it: a point of P-256 (RFC 6605, 4) in base64.
DnsKey = Annotated[str, Meta(pattern=r"\A(?:[A-Za-z0-9+/]{86}==)?\Z")]
# Where an answer is for: a country (ISO 3166-1) or a continent as databases in MaxMind's format name them.
Place = Annotated[str, Meta(pattern=r"\A(?:country:[A-Z]{2}|continent:(?:AF|AN|AS|EU|NA|OC|SA))?\Z")]


class ZoneError(ValueError):
    """A zone that breaks a rule which its types alone cannot express."""


class Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One record in presentation form (RFC 1035, 5.1). `place` narrows it to clients there.

    With weights an answer is one record of the set, as often as its weight says; 0 means that all are answered.
    """

    owner: Owner
    kind: Kind
    ttl: Ttl
    data: Annotated[str, Meta(max_length=9_000)]
    place: Place = ""
    weight: Weight = 0

    def __post_init__(self) -> None:
        if not _COMPILED[self.kind].match(self.data):
            raise ZoneError(f"the data of a record of {self.owner} is no {self.kind}")
        if self.kind in ("A", "AAAA"):
            _checked_address(self.data, 4 if self.kind == "A" else 6)


class Address(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A public address of a shield. `down` says that the control plane found it so."""

    address: IpText
    server: Id
    place: Place = ""
    weight: Weight = 0
    down: bool = False

    def __post_init__(self) -> None:
        _checked_address(self.address, None)


class Proxied(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A name that answers with shields, in the order of preference: `all` that work, or the `first` of them.

    While none works all are answered.
    """

    owner: Owner
    ttl: Ttl
    answer: Literal["all", "first"] = "all"
    addresses: Annotated[tuple[Address, ...], Meta(max_length=ADDRESSES_MAX)] = ()


class Alias(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A name that answers with the addresses of another one, which each shield looks up itself."""

    owner: Owner
    ttl: Ttl
    target: Annotated[str, Meta(pattern=rf"\A{_NAME}\Z")]


class Nameserver(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A shield that serves the zone, named ``ns`` and its number below the zone, with its public addresses.

    `key` is what it signs the zone with, empty while nobody knows. Who is not `listed` answers, but is named to nobody.
    """

    server: Id
    number: Annotated[int, Meta(ge=1, le=999)]
    addresses: Annotated[tuple[IpText, ...], Meta(max_length=2)] = ()
    key: DnsKey = ""
    listed: bool = True

    def __post_init__(self) -> None:
        for address in self.addresses:
            _checked_address(address, None)


class Zone(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A zone: A-labels, no final dot. All shields of it serve the same serial.

    In a `signed` zone every shield signs with its own key and publishes the keys of all (RFC 8901, model 2).
    """

    id: Id
    name: ZoneName
    serial: Serial
    nameservers: Annotated[tuple[Nameserver, ...], Meta(max_length=NAMESERVERS_MAX)]
    records: Annotated[tuple[Record, ...], Meta(max_length=RECORDS_MAX)] = ()
    proxied: Annotated[tuple[Proxied, ...], Meta(max_length=RECORDS_MAX)] = ()
    aliases: Annotated[tuple[Alias, ...], Meta(max_length=RECORDS_MAX)] = ()
    signed: bool = False

    def __post_init__(self) -> None:
        if not any(server.listed for server in self.nameservers):
            raise ZoneError(f"{self.name} has no name server that anybody may ask")
        owners = [part.owner for part in self.records] + [part.owner for part in self.proxied]
        for owner in (*owners, *(part.owner for part in self.aliases)):
            if len(absolute(owner, self.name)) > 254:
                raise ZoneError(f"{owner} is too long a name in {self.name}")


def absolute(owner: str, zone: str) -> str:
    """Return an owner as an absolute name, with its final dot."""
    return f"{zone}." if owner == "@" else f"{owner}.{zone}."


def _checked_address(text: str, version: int | None) -> None:
    """Raise unless it is an address as `ipaddress` writes it, of this version if one is given."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ZoneError(f"{text} is no address") from error
    if str(address) != text or version not in (None, address.version):
        raise ZoneError(f"{text} is no address of this kind in its canonical form")
