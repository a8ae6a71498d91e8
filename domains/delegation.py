"""Whether the world finds a zone: the parent is asked for its name servers, and each of them for its serial."""

import base64
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
from django.conf import settings

from domains.zone_models import Zone
from domains.zone_parts import addresses_of
from lumos.addresses import Ip, is_public

PARENT_SERVERS_MAX = 4
AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Network:
    """How the DNS is reached: resolvers (None: the machine's), the port and patience, and who may be asked."""

    resolvers: Sequence[str] | None = None
    port: int = 53
    seconds: float = 3.0
    is_allowed: Callable[[Ip], bool] = is_public

    def resolver(self) -> dns.resolver.Resolver:
        """Return a stub resolver that gives up after `seconds`."""
        made = dns.resolver.Resolver(configure=self.resolvers is None)
        if self.resolvers is not None:
            made.nameservers, made.port = list(self.resolvers), self.port
        made.lifetime = self.seconds
        return made

    def ask(self, zone: str, kind: str, address: str) -> dns.message.Message:
        """Ask the name server at an address about a zone; raises DNSException or OSError."""
        question = dns.message.make_query(f"{zone}.", kind, use_edns=0, flags=0)
        answer, _ = dns.query.udp_with_fallback(question, address, timeout=self.seconds, port=self.port)
        return answer


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one name server said at one of its addresses; `problem` is empty if all is well."""

    name: str
    address: str
    serial: int | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Signers:
    """The DS records that a parent has of a zone, as text of their data, and how long resolvers remember them."""

    digests: frozenset[str]
    ttl_seconds: int = 0


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """What the parent says, and what the name servers say."""

    expected: list[str]
    found: list[str]
    problems: list[str] = field(default_factory=list)
    servers: list[Asked] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether visitors find the zone everywhere."""
        return not self.problems and not any(server.problem for server in self.servers)


NETWORK = Network(
    resolvers=settings.DNS_RESOLVERS or None,
    is_allowed=lambda address: settings.PROBE_PRIVATE_ADDRESSES or is_public(address),
)


def check_delegation(zone: Zone, network: Network | None = None) -> Delegation:
    """Ask the DNS about a zone; takes a few seconds at most, and raises nothing."""
    reach = network or NETWORK
    rows = list(zone.nameservers.select_related("server").order_by("number"))
    names = {f"ns{row.number}.{zone.name}": addresses_of(row.server) for row in rows}
    hidden = {f"ns{row.number}.{zone.name}" for row in rows if not row.is_listed}
    wanted = {name: addresses for name, addresses in names.items() if name not in hidden}
    keys = {row.dnskey for row in rows} if zone.dnssec else set()
    questions = [(name, address) for name, addresses in names.items() for address in addresses]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parent = pool.submit(_delegated, zone.name, reach)
        servers = list(pool.map(lambda asked: _asked(zone, keys, asked, reach), questions))
        found, glue, problem = parent.result()
    problems = [problem] if problem else _differences(wanted, found, glue)
    return Delegation(expected=sorted(wanted), found=sorted(found), problems=problems, servers=servers)


def _differences(wanted: dict[str, list[str]], found: set[str], glue: dict[str, set[str]]) -> list[str]:
    problems = [f"{name} is not entered at the registrar." for name in sorted(wanted.keys() - found)]
    problems += [f"{name} is entered, but does not serve this zone." for name in sorted(found - wanted.keys())]
    for name in sorted(found & wanted.keys()):
        if glue.get(name, set()) != set(wanted[name]):
            there = ", ".join(sorted(glue.get(name, set()))) or "none"
            problems.append(f"The addresses of {name} are {there} at the registrar; enter {', '.join(wanted[name])}.")
    return problems


def _delegated(zone: str, network: Network) -> tuple[set[str], dict[str, set[str]], str]:
    """Return (name servers, their addresses, problem) as the parent has them."""
    problem = "No name server of the parent zone could be asked."
    for address in _parent_addresses(zone, network):
        try:
            answer = network.ask(zone, "NS", address)
        except (dns.exception.DNSException, OSError):
            continue
        if answer.rcode() == dns.rcode.NXDOMAIN:
            return set(), {}, "The parent zone does not know this zone; enter the name servers at your registrar."
        name = dns.name.from_text(zone)
        sets = [s for s in (*answer.answer, *answer.authority) if s.name == name and s.rdtype == dns.rdatatype.NS]
        if not sets:
            problem = "The parent zone has no name servers for this zone; enter them at your registrar."
            continue
        glue: dict[str, set[str]] = {}
        for rrset in answer.additional:
            if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                glue.setdefault(_text(rrset.name), set()).update(str(ip_address(r.to_text())) for r in rrset)
        return {_text(r.target) for s in sets for r in s}, glue, ""
    return set(), {}, problem


def signers_at_parent(zone: str, network: Network | None = None) -> Signers | None:
    """Ask the zone above for the DS of a zone; None if it could not be asked, or does not know."""
    reach = network or NETWORK
    for address in _parent_addresses(zone, reach):
        try:
            answer = reach.ask(zone, "DS", address)
        except (dns.exception.DNSException, OSError):
            continue
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not answer.flags & dns.flags.AA:
            continue
        sets = [s for s in answer.answer if s.rdtype == dns.rdatatype.DS and s.name == dns.name.from_text(zone)]
        digests = frozenset(record.to_text() for s in sets for record in s)
        return Signers(digests=digests, ttl_seconds=max((s.ttl for s in sets), default=0))
    return None


def _parent_addresses(zone: str, network: Network) -> Iterable[str]:
    """Yield addresses of the zone above that may be asked."""
    resolver = network.resolver()
    names: list[str] = []
    above = dns.name.from_text(zone)
    while not names and above != dns.name.root:
        above = above.parent()
        try:
            names = [r.target.to_text() for r in resolver.resolve(above, "NS")]
        except (dns.exception.DNSException, OSError):
            continue
    for name in names[:PARENT_SERVERS_MAX]:
        for kind in ("A", "AAAA"):
            try:
                found = [r.to_text() for r in resolver.resolve(name, kind)]
            except (dns.exception.DNSException, OSError):
                continue
            yield from (address for address in found[:1] if network.is_allowed(ip_address(address)))


def _asked(zone: Zone, keys: set[str], question: tuple[str, str], network: Network) -> Asked:
    name, address = question
    if not network.is_allowed(ip_address(address)):
        return Asked(name=name, address=address, problem="This is no public address; nobody else can ask there.")
    try:
        answer = network.ask(zone.name, "SOA", address)
    except (dns.exception.DNSException, OSError) as error:
        reason = "no answer in time" if isinstance(error, dns.exception.Timeout) else str(error)
        return Asked(name=name, address=address, problem=f"Does not answer ({reason}); is UDP and TCP port 53 open?")
    serials = [r.serial for s in answer.answer if s.rdtype == dns.rdatatype.SOA for r in s]
    if not serials or not answer.flags & dns.flags.AA:
        return Asked(name=name, address=address, problem="Answers, but does not serve this zone.")
    problem = "" if serials[0] == zone.serial else f"Serves another version than the newest, {zone.serial}."
    if keys and not problem and _published(zone.name, address, network) != keys:
        problem = "Does not publish the keys of all shields."
    return Asked(name=name, address=address, serial=serials[0], problem=problem)


def _published(zone: str, address: str, network: Network) -> set[str]:
    """Return the public keys that a name server has of a zone."""
    try:
        answer = network.ask(zone, "DNSKEY", address)
    except (dns.exception.DNSException, OSError):
        return set()
    sets = [s for s in answer.answer if s.rdtype == dns.rdatatype.DNSKEY]
    return {base64.b64encode(record.key).decode() for s in sets for record in s}


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
