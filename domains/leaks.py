"""Does the public Internet know where a domain's origins are? Asked as an attacker would: DNS, mail, the addresses.

Only public addresses are connected to. Nothing here touches rows.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import dns.exception
import dns.resolver

from domains.delegation import Network
from domains.leak_models import Clue, ClueState
from lumos.addresses import NetworkSet
from lumos.greeting import Greeting, greet
from lumos.net import FetchError, Reach
from lumos_agent.tunnel import SUFFIX

# Names that usually stay behind when a site moves behind a shield.
LEFT_BEHIND = ("direct", "origin", "mail", "ftp", "cpanel", "webmail", "dev", "staging", "old")
SECONDS = 6.0
AT_ONCE = 8
NAMES_MAX, ADDRESSES_MAX, MAIL_MAX, SPF_MAX = 32, 32, 10, 100
GREETED_MAX = 16


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an origin listens: an address or a hostname."""

    address: str
    port: int
    is_tls: bool


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is looked for. `shields` are addresses that may be found, `cdns` may stand in front of the site."""

    hostname: str
    registered: str
    places: Sequence[Place]
    shields: frozenset[str]
    cdns: NetworkSet
    https_port: int = 443


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one clue says."""

    clue: Clue
    state: ClueState
    text: str


@dataclass(kw_only=True)
class _Known:
    """What the DNS says: {name: addresses}, mail servers, networks of SPF, and names that nobody could be asked for."""

    names: dict[str, list[str]] = field(default_factory=dict)
    mail: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def _guesses(question: Question) -> list[str]:
    """Return the names that everybody tries."""
    left = [f"{label}.{question.registered}" for label in LEFT_BEHIND]
    return list(dict.fromkeys([question.hostname, question.registered, *left]))


def look(question: Question, network: Network) -> list[Finding]:
    """Return what can be found; takes a minute at most, and nothing that strangers answer makes it raise."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        known = _ask(question, network, pool)
        places = _public_places(question, known, network)
        origins = sorted({place.address for place in places})
        greeted = list(pool.map(lambda place: _greeted(place, question, network), places))
        found = list(zip(places, greeted, strict=True))
        others = [place for place in _others(question, known, network) if place.address not in origins]
        strangers = list(zip(others, pool.map(lambda place: _greeted(place, question, network), others), strict=True))
    return [
        *_direct(question, found),
        *_dns(question, known, origins),
        *_mail(known, origins),
        *_certificates(question, [*found, *strangers]),
    ]


def _ask(question: Question, network: Network, pool: ThreadPoolExecutor) -> _Known:
    origins = [p.address for p in question.places if _ip(p.address) is None and not p.address.endswith(SUFFIX)]
    mail, texts = _records(question.registered, "MX", network), _records(question.registered, "TXT", network)
    exchanges = dict.fromkeys(data.split()[-1].rstrip(".") for data in mail or [])
    known = _Known(mail=[name for name in exchanges if name][:MAIL_MAX])
    if mail is None or texts is None:
        known.silent.append(question.registered)
    known.networks = [word for text in texts or [] for word in _spf_networks(text)][:SPF_MAX]
    names = list(dict.fromkeys([*_guesses(question), *known.mail, *origins]))[:NAMES_MAX]
    for name, addresses in zip(names, pool.map(lambda name: _addresses(name, network), names), strict=True):
        if addresses is None:
            known.silent.append(name)
        known.names[name] = addresses or []
    return known


def _records(name: str, kind: str, network: Network) -> list[str] | None:
    """Return what the records of a name say; None if nobody could be asked."""
    try:
        answer = network.resolver().resolve(name, kind)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError):
        return None
    return [record.to_text() for record in answer]


def _addresses(name: str, network: Network) -> list[str] | None:
    four, six = _records(name, "A", network), _records(name, "AAAA", network)
    return None if four is None and six is None else [*(four or []), *(six or [])][:ADDRESSES_MAX]


def _spf_networks(text: str) -> Iterator[str]:
    """Yield the networks that a policy for senders names itself (RFC 7208, 5.6)."""
    words = text.replace('" "', "").strip('"').split()
    if words[:1] != ["v=spf1"]:
        return
    for word in words[1:]:
        name, _, value = word.lstrip("+-~?").partition(":")
        try:
            if name in ("ip4", "ip6"):
                yield str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            continue


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _may_be_asked(address: str, question: Question, network: Network) -> bool:
    ip = _ip(address)
    return ip is not None and address not in question.shields and network.is_allowed(ip)


def _public_places(question: Question, known: _Known, network: Network) -> list[Place]:
    """Return the origins that have a public address, which nobody but the shields should reach."""
    found = [
        Place(address=address, port=place.port, is_tls=place.is_tls)
        for place in question.places
        for address in known.names.get(place.address, [place.address])
        if _may_be_asked(address, question, network)
    ]
    return list(dict.fromkeys(found))[:GREETED_MAX]


def _others(question: Question, known: _Known, network: Network) -> list[Place]:
    """Return whom else the site may be asked for: the addresses of names that were left behind.

    Whoever stands in front of the shields, a CDN, shows the site's certificate by right.
    """
    front = known.names.get(question.hostname, [])
    found = dict.fromkeys(address for name in _guesses(question) for address in known.names.get(name, []))
    fronts = {*front, *(a for a in found if ipaddress.ip_address(a) in question.cdns)}
    allowed = [a for a in found if a not in fronts and _may_be_asked(a, question, network)]
    return [Place(address=a, port=question.https_port, is_tls=True) for a in allowed[:GREETED_MAX]]


def _greeted(place: Place, question: Question, network: Network) -> Greeting | None:
    reach = Reach(admits=network.is_allowed, seconds=SECONDS)
    try:
        return greet(place.address, place.port, question.hostname, is_tls=place.is_tls, reach=reach)
    except FetchError:  # the addresses that may be asked are others than a moment ago
        return None


def _direct(question: Question, found: Sequence[tuple[Place, Greeting | None]]) -> Iterator[Finding]:
    if not found:
        text = "No origin has a public address: nobody outside can reach one past your shields."
        yield Finding(clue=Clue.DIRECT, state=ClueState.HIDDEN, text=text)
    for place, greeting in found:
        where = f"{place.address}, port {place.port},"
        if greeting is None:
            yield Finding(clue=Clue.DIRECT, state=ClueState.HIDDEN, text=f"{where} does not answer strangers.")
            continue
        how = f"answers with status {greeting.status}" if greeting.status else "takes connections"
        text = (
            f"{where} {how} when a stranger asks for {question.hostname}. Let only your shields in: connect the origin "
            "by a tunnel and close its ports with the script on the tunnel's page."
        )
        yield Finding(clue=Clue.DIRECT, state=ClueState.LEAK, text=text)


def _dns(question: Question, known: _Known, origins: Sequence[str]) -> Iterator[Finding]:
    leading = {name: sorted({*known.names[name]} & {*origins}) for name in _guesses(question) if name not in known.mail}
    for name, there in leading.items():
        if there:
            text = f"{name} leads to the origin ({', '.join(there)}). Remove the name, or let it lead to your shields."
            yield Finding(clue=Clue.DNS, state=ClueState.LEAK, text=text)
    if known.silent:
        text = f"The DNS did not answer for {', '.join(known.silent[:5])}."
        yield Finding(clue=Clue.DNS, state=ClueState.UNKNOWN, text=text)
    elif not any(leading.values()):
        text = f"None of {len(leading)} names that usually stay behind leads to an origin."
        yield Finding(clue=Clue.DNS, state=ClueState.HIDDEN, text=text)


def _mail(known: _Known, origins: Sequence[str]) -> Iterator[Finding]:
    texts = [
        f"Mail goes to {name}, which is the origin ({address}); what it sends names that address in its headers. "
        "Let another machine take mail."
        for name in known.mail
        for address in sorted(set(known.names.get(name, [])) & set(origins))
    ]
    texts += [
        f"The SPF record names {network}, where the origin is ({address}). Send mail from another address."
        for network in known.networks
        for address in origins
        if _is_in(address, network)
    ]
    for text in texts:
        yield Finding(clue=Clue.MAIL, state=ClueState.LEAK, text=text)
    if not texts:
        yield Finding(clue=Clue.MAIL, state=ClueState.HIDDEN, text="MX and SPF records name no origin.")


def _is_in(address: str, network: str) -> bool:
    """Whether a network is narrow enough to point at an address that is in it."""
    wide, ip = ipaddress.ip_network(network), ipaddress.ip_address(address)
    return ip in wide and wide.prefixlen >= (24 if wide.version == 4 else 48)


def _certificates(question: Question, found: Iterable[tuple[Place, Greeting | None]]) -> Iterator[Finding]:
    leaking = False
    for place, greeting in found:
        if greeting is not None and _is_named(question.hostname, greeting.names):
            leaking = True
            text = (
                f"{place.address}, port {place.port}, shows a certificate for {question.hostname}. Searches of "
                "certificates find it by that; let only your shields in."
            )
            yield Finding(clue=Clue.CERTIFICATE, state=ClueState.LEAK, text=text)
    if not leaking:
        text = f"No address that was found shows a certificate for {question.hostname}."
        yield Finding(clue=Clue.CERTIFICATE, state=ClueState.HIDDEN, text=text)


def _is_named(hostname: str, names: Sequence[str]) -> bool:
    return hostname in names or f"*.{hostname.partition('.')[2]}" in names
