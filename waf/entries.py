"""What may stand on a list, in canonical form, and lists as people write them. Pure."""

import ipaddress
import re
from typing import NamedTuple

import msgspec

from lumos.errors import InvalidInput
from lumos_agent.grammar import Entry
from lumos_agent.schema import canonical_network

ASN_MAX = 2**32 - 1
RANGE_NETWORKS_MAX = 256
_ASN = re.compile(r"(?i)as ?([0-9]{1,10})\Z")
# ISO 3166-1 alpha-2, and XK, which address databases use for Kosovo.
_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV "
    "BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES "
    "ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE "
    "IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY "
    "MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU "
    "NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM "
    "SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE "
    "VG VI VN VU WF WS XK YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(_CODES.split())


def canonical_entry(text: str) -> str:
    """Return an entry in canonical form: CIDR, AS64500, country:DE or agent:curl; a bare address becomes a /32 or /128.

    Raises:
        InvalidInput: it is none of these, or a network that is everybody.
    """
    text = text.strip(" ")
    if match := _ASN.match(text):
        return _autonomous_system(int(match[1]))
    prefix, colon, value = text.partition(":")
    if colon and prefix.lower() == "country":
        return _country(value.strip(" ").upper())
    if colon and prefix.lower() == "agent":
        return _agent(value)
    return _network(text)


def _autonomous_system(number: int) -> str:
    if not 0 < number <= ASN_MAX:
        raise InvalidInput(f"The number of an autonomous system is 1 to {ASN_MAX}.", field="network")
    return f"AS{number}"


def _country(code: str) -> str:
    if code not in COUNTRIES:
        raise InvalidInput(
            f"“{code[:20]}” is no country; use the two letters of ISO 3166-1, as in country:DE.", field="network"
        )
    return f"country:{code}"


def _agent(value: str) -> str:
    entry = f"agent:{value.strip(' ').lower()}"
    try:
        return msgspec.convert(entry, Entry)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "Part of a user agent has letters, digits, spaces and ._/;:()+,@*- and at most 64 characters, "
            "as in agent:python-requests.",
            field="network",
        ) from error


def _network(text: str) -> str:
    try:
        network = canonical_network(text)
    except ValueError as error:
        raise InvalidInput(
            "Enter an IPv4 or IPv6 address or network, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32; or "
            "AS64500, country:DE, agent:curl.",
            field="network",
        ) from error
    if ipaddress.ip_network(network).prefixlen == 0:
        raise InvalidInput(
            f"{network} is every address; to switch a site off or open it, change its policy.", field="network"
        )
    return network


class LineError(NamedTuple):
    """A line that is no entry. `line` counts from 1."""

    line: int
    text: str
    message: str


class ParsedList(NamedTuple):
    """The canonical entries of a text, each once in the order of the text, and the lines that are none."""

    entries: list[str]
    errors: list[LineError]


def parsed_list(text: str) -> ParsedList:
    """Read a list as people write them: one entry a line, `#` and `;` begin comments, `a-b` is a range of addresses."""
    found: dict[str, None] = {}
    errors: list[LineError] = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0]
        if "agent:" not in entry.lower():
            entry = entry.partition(";")[0]
        if entry := entry.strip():
            try:
                found.update(dict.fromkeys(_of_line(entry)))
            except InvalidInput as error:
                errors.append(LineError(number, entry[:80], error.detail))
    return ParsedList(list(found), errors)


def _of_line(entry: str) -> list[str]:
    first, hyphen, last = entry.partition("-")
    if not hyphen or entry.lower().startswith(("agent:", "country:")):
        return [canonical_entry(entry)]
    try:
        ends = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
        networks = list(ipaddress.summarize_address_range(*ends))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"This is no range of addresses such as 192.0.2.10-192.0.2.20: {error}.") from error
    if len(networks) > RANGE_NETWORKS_MAX:
        raise InvalidInput("The range is too ragged; write it as networks.")
    return [_network(str(network)) for network in networks]


def networks_around(address: str) -> list[str]:
    """Return every network but the widest that contains an address, in canonical form."""
    whole = ipaddress.ip_network(canonical_network(address))
    return [str(whole.supernet(new_prefix=length)) for length in range(1, whole.max_prefixlen + 1)]
