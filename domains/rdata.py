"""What may be the name, the data and the place of a record. Each function returns the canonical form.

Names are hostnames with underscores (RFC 8552), internationalised ones become A-labels.
"""

import re
from collections.abc import Iterator

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import idna
import msgspec

from domains.validators import canonical_hostname
from domains.zone_models import TTL_MAX, TTL_MIN, Answer, RecordType
from lumos.errors import InvalidInput
from lumos_agent.zone import OWNER_PATTERN, Record, Weight

SHOWN = 60
TXT_STRING_BYTES = 255
TXT_BYTES_MAX = 4_000
_OWNER = re.compile(OWNER_PATTERN)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CAA = re.compile(r"(\d{1,3}) +([A-Za-z0-9]{1,15}) +([^\"].*)")
_PLACE = re.compile(r"\A(?:country:[A-Z]{2}|continent:(?:AF|AN|AS|EU|NA|OC|SA))?\Z")
EXAMPLES = {
    RecordType.A: "192.0.2.1",
    RecordType.AAAA: "2001:db8::1",
    RecordType.CNAME: "www.example.net.",
    RecordType.MX: "10 mail.example.net.",
    RecordType.TXT: "v=spf1 -all",
    RecordType.NS: "ns1.example.net.",
    RecordType.SRV: "10 5 5060 sip.example.net.",
    RecordType.CAA: '0 issue "letsencrypt.org"',
    RecordType.ALIAS: "shop.example.net.",
    RecordType.PROXIED: "all",
}


def shown(text: str) -> str:
    """Return `text` safe and short enough for a message."""
    return ascii(text[:SHOWN])[1:-1] + ("…" if len(text) > SHOWN else "")


def canonical_zone(text: str) -> str:
    """Return a zone's name: A-labels, lower case, no final dot.

    Raises:
        InvalidInput: it is no name of at least two labels.
    """
    try:
        return canonical_hostname(text)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field="name") from error


def _ascii(text: str) -> str:
    """Return a name in A-labels and lower case; underscores and ``*`` stay (RFC 5891, RFC 8552)."""
    try:
        return ".".join(
            label.lower() if label.isascii() else idna.encode(label, uts46=True).decode() for label in text.split(".")
        )
    except idna.IDNAError as error:
        raise InvalidInput(f"“{shown(text)}” is not a valid internationalised name ({error}).") from error


def canonical_owner(text: str, zone: str) -> str:
    """Return a record's name relative to its zone, ``@`` for the zone itself.

    A name with a final dot, or that ends in the zone's name, is meant absolute.

    Raises:
        InvalidInput: it is no name, or not in this zone.
    """
    name = _ascii(text.strip(" "))
    is_absolute = name.endswith(".")
    name = name.removesuffix(".")
    if name in ("", "@", zone):
        return "@"
    if name.endswith(f".{zone}"):
        name = name.removesuffix(f".{zone}")
    elif is_absolute:
        raise InvalidInput(f"“{shown(text)}” is not in the zone {zone}; leave out the final dot.", field="name")
    if not _OWNER.match(name) or len(name) + len(zone) + 1 > 253:
        raise InvalidInput(
            f"“{shown(text)}” is not a name. Use letters, digits, hyphens and underscores in labels of at most 63 "
            "characters, 253 with the zone; “*” as the first label stands for any name, “@” for the zone itself.",
            field="name",
        )
    return name


def canonical_target(text: str, zone: str) -> str:
    """Return a name in a record's data, absolute with its final dot; one without any dot is meant in the zone.

    Raises:
        InvalidInput: it is no name.
    """
    name = _ascii(text.strip(" "))
    if name == "@":
        return f"{zone}."
    if name == ".":
        return name
    name = name if name.endswith(".") else f"{name}." if "." in name else f"{name}.{zone}."
    if "*" in name or not _OWNER.match(name.removesuffix(".")) or len(name) > 254:
        raise InvalidInput(f"“{shown(text)}” is not a name such as www.example.net.", field="data")
    return name


def canonical_place(text: str) -> str:
    """Return where a record is for: empty, ``country:DE`` (ISO 3166-1) or ``continent:EU``.

    Raises:
        InvalidInput: it is none of them.
    """
    kind, colon, code = text.strip().partition(":")
    place = f"{kind.lower()}{colon}{code.strip().upper()}"
    if not _PLACE.match(place):
        raise InvalidInput(
            f"“{shown(text)}” is no place. Enter country: and a code of ISO 3166-1 such as country:DE, or continent: "
            "and one of AF, AN, AS, EU, NA, OC, SA; nothing for everywhere.",
            field="place",
        )
    return place


def canonical_data(kind: str, text: str, zone: str) -> str:
    """Return the data of a record in presentation form (RFC 1035, 5.1; RFC 2782, RFC 3596, RFC 8659).

    Raises:
        InvalidInput: it is no data of this type.
    """
    text = text.strip(" ")
    if kind == RecordType.PROXIED:
        if text not in Answer.values:
            raise InvalidInput("A proxied name answers with “all” of its shields or the “first”.", field="data")
        return text
    if kind not in RecordType.values:
        raise InvalidInput(
            f"Records of type {shown(kind)} are not served; there are {', '.join(RecordType.values)}.", field="type"
        )
    if _CONTROL.search(text):
        raise InvalidInput("Data has no line breaks and control characters; write them as \\010.", field="data")
    if text.startswith("\\#"):
        raise InvalidInput(
            f"Data in octets (\\#, RFC 3597) is not taken; write it as {EXAMPLES[RecordType(kind)]}", field="data"
        )
    try:
        data = _data(kind, text, zone)
        if kind == RecordType.ALIAS:
            return data
        msgspec.convert({"owner": "@", "kind": kind, "ttl": 1, "data": data}, Record)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field="data") from error
    except (dns.exception.DNSException, ValueError, msgspec.ValidationError) as error:
        example = EXAMPLES[RecordType(kind)]
        raise InvalidInput(
            f"“{shown(text)}” is no data of type {kind}; it looks like {example}", field="data"
        ) from error
    return data


def _data(kind: str, text: str, zone: str) -> str:
    if kind == RecordType.TXT:
        return _text_data(text)
    words = text.split()
    if kind in (RecordType.CNAME, RecordType.NS, RecordType.ALIAS, RecordType.MX, RecordType.SRV):
        words[-1:] = [canonical_target(words[-1], zone)] if words else []
        text = " ".join(words)
        if kind == RecordType.ALIAS and (len(words) != 1 or text == "."):
            raise InvalidInput("An alias has the name of another host for data, such as shop.example.net.")
        kind = RecordType.CNAME if kind == RecordType.ALIAS else kind
    elif kind == RecordType.CAA and (found := _CAA.fullmatch(text)):
        value = found[3].strip().replace("\\", "\\\\").replace('"', '\\"')
        text = f'{found[1]} {found[2]} "{value}"'
    found_data = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text, relativize=False)
    data = found_data.to_text()
    return data.lower() if kind != RecordType.CAA else _lower_tag(data)


def _lower_tag(data: str) -> str:
    """Return CAA data with its tag in lower case (RFC 8659, 4.1: compared without regard to case)."""
    flags, tag, value = data.split(" ", 2)
    return f"{flags} {tag.lower()} {value}"


def _text_data(text: str) -> str:
    """Return TXT data: quoted strings as they are, anything else as one text, cut where a string has to end."""
    given = list(_strings(text)) if text.startswith('"') else [text.encode()]
    strings = [part for string in given for part in _cut(string)]
    if sum(map(len, strings)) > TXT_BYTES_MAX:
        raise InvalidInput(f"A text has at most {TXT_BYTES_MAX} bytes; this one has {sum(map(len, strings))}.")
    return " ".join('"' + "".join(map(_escaped, string)) + '"' for string in strings)


def _strings(text: str) -> Iterator[bytes]:
    """Return what is between the quotes."""
    tokens = dns.tokenizer.Tokenizer(text)
    while not (token := tokens.get()).is_eol_or_eof():
        if not (token.is_quoted_string() or token.is_identifier()):
            raise InvalidInput("A text in quotes has nothing but quoted strings.")
        yield token.unescape_to_bytes().value


def _cut(string: bytes) -> list[bytes]:
    return [string[at : at + TXT_STRING_BYTES] for at in range(0, len(string), TXT_STRING_BYTES)] or [b""]


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03d}"


def canonical_weight(weight: int) -> int:
    """Return a weight.

    Raises:
        InvalidInput: out of range.
    """
    try:
        return msgspec.convert(weight, Weight)
    except msgspec.ValidationError as error:
        raise InvalidInput("A weight is between 0 and 255.", field="weight") from error


def canonical_ttl(ttl: int) -> int:
    """Return for how many seconds resolvers may keep a record.

    Raises:
        InvalidInput: out of range.
    """
    if not TTL_MIN <= ttl <= TTL_MAX:
        raise InvalidInput(f"A TTL is between {TTL_MIN} and {TTL_MAX} seconds (7 days).", field="ttl")
    return ttl
