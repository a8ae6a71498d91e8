"""An existing haproxy.cfg -> domains with their origins, and what could not be taken over and why. Pure."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import UNSET

from lumos_agent.document import VERSION, ConfigDocument, ConfigDomain, ConfigOrigin
from lumos_agent.grammar import HOSTNAME_PATTERN
from lumos_agent.haproxy_config import Line, Section, sections_of
from lumos_agent.haproxy_hosts import NotTaken, ReadFile, Rule, rules_of

ORIGINS_MAX = 64
SHOWN = 100
_HOSTNAME = re.compile(HOSTNAME_PATTERN)
_BALANCES = {"roundrobin", "leastconn", "source"}
_PROXY = {"send-proxy": "v1", "send-proxy-v2": "v2", "send-proxy-v2-ssl": "v2", "send-proxy-v2-ssl-cn": "v2"}
_WITH_VALUE = {
    "weight", "verify", "ca-file", "cookie", "sni", "track", "id", "inter", "fastinter", "downinter", "fall", "rise",
    "maxconn", "maxqueue", "minconn", "verifyhost", "alpn", "crt", "crl-file", "port", "addr", "observe", "on-error",
    "on-marked-down", "on-marked-up", "source", "slowstart", "resolvers", "init-addr", "check-sni", "check-alpn",
    "ciphers", "proto", "ssl-min-ver", "ssl-max-ver", "error-limit", "namespace", "agent-port", "agent-inter",
}  # fmt: skip
PUBLIC_CA = "@system-ca"
_PUBLIC_CAS = {PUBLIC_CA, "ca-certificates.crt", "/etc/ssl/certs", "/etc/ssl/certs/ca-certificates.crt"}
# What changes requests or answers, or whom they go to: worth a remark where it is not taken over.
_RULES = {
    "http-request", "http-response", "http-after-response", "redirect", "rspadd", "reqadd", "stick-table", "stick",
    "tcp-request", "tcp-response", "errorfile", "cookie", "compression", "filter", "server-template", "use-server",
    "http-check", "monitor-uri", "rewrite", "reqrep", "reqirep", "rsprep",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What was left out, and why."""

    line: int
    what: str
    why: str


@dataclass(kw_only=True)
class Imported:
    """What a configuration holds that can be taken over, and what cannot."""

    domains: list[ConfigDomain] = field(default_factory=list)
    binds: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def refuse(self, line: int, what: str, why: str) -> None:
        """Note what is left out."""
        self.remarks.append(Remark(line=line, what=what[:SHOWN], why=why))

    def document(self) -> ConfigDocument:
        """Return the domains as a document that the dashboard imports."""
        return ConfigDocument(version=VERSION, domains=tuple(self.domains))


def imported(text: str, read: ReadFile) -> Imported:
    """Return the domains of a configuration; `read` returns map and ACL files, None if there is none.

    Raises:
        AgentError: the text is no configuration.
    """
    result = Imported()
    sections = sections_of(text)
    backends = {s.name: s for s in sections if s.kind in ("backend", "listen")}
    taken: dict[str, Rule] = {}
    for section in sections:
        if section.kind not in ("frontend", "listen", "backend"):
            continue
        if section.last("mode")[:1] != ("http",):
            result.refuse(section.number, f"{section.kind} {section.name}", "mode tcp: only HTTP sites can be shielded")
            continue
        for line in section.lines:
            if line.words[0] in _RULES:
                result.refuse(
                    line.number, " ".join(line.words), "not taken over; set it on the domain where it is needed"
                )
        if section.kind != "backend":
            result.binds += [" ".join(line.words[1:]) for line in section.all("bind")]
            _take(section, taken, read, result)
    _build(taken, backends, result)
    result.remarks.sort(key=lambda remark: remark.line)
    return result


def _take(section: Section, taken: dict[str, Rule], read: ReadFile, result: Imported) -> None:
    """Add the rules of a frontend; the first rule for a hostname wins, as in HAProxy."""
    rules = list(rules_of(section, read, result.refuse))
    if section.kind == "listen" and section.all("server") and not any(rule.hostname == "*" for rule in rules):
        rules.append(Rule(hostname="*", backend=section.name, line=section.number))
    for rule in rules:
        first = taken.setdefault(rule.hostname, rule)
        if first.backend != rule.backend:
            why = f"line {first.line} sends {rule.hostname} to {first.backend} already"
            result.refuse(rule.line, f"{rule.hostname} -> {rule.backend}", why)


def _build(taken: dict[str, Rule], backends: dict[str, Section], result: Imported) -> None:
    built: dict[str, tuple[tuple[ConfigOrigin, ...], dict[str, Any]] | None] = {}
    for hostname, rule in sorted(taken.items()):
        if rule.backend not in built:
            built[rule.backend] = _backend(rule, backends.get(rule.backend), result)
        if (found := built[rule.backend]) is None:
            result.refuse(rule.line, hostname, f"backend {rule.backend} has no origin that can be taken over")
        else:
            origins, traffic = found
            result.domains.append(ConfigDomain(hostname=hostname, origins=origins, traffic=traffic or UNSET))


def _backend(
    rule: Rule, section: Section | None, result: Imported
) -> tuple[tuple[ConfigOrigin, ...], dict[str, Any]] | None:
    """Return origins and traffic settings; None if there is nothing to send requests to."""
    if section is None:
        result.refuse(rule.line, f"backend {rule.backend}", "there is no such section")
        return None
    origins: dict[tuple[str, int], ConfigOrigin] = {}
    traffic: dict[str, Any] = {}
    for line in section.all("server"):
        try:
            origin, options = _server(line, _default_server(section))
        except NotTaken as reason:
            result.refuse(line.number, " ".join(line.words), str(reason))
            continue
        if (origin.address, origin.port) in origins or len(origins) >= ORIGINS_MAX:
            result.refuse(
                line.number, " ".join(line.words), f"the same address twice, or more than {ORIGINS_MAX} origins"
            )
            continue
        origins[origin.address, origin.port] = origin
        if versions := [_PROXY[word] for word in options if word in _PROXY]:
            traffic["proxy_protocol"] = versions[-1]
        if origin.tls == "verify" and options.get("ca-file", PUBLIC_CA) not in _PUBLIC_CAS:
            result.refuse(
                line.number, " ".join(line.words), "taken over without its ca-file: only public CAs are trusted"
            )
    balance = section.last("balance")[:1]
    if balance and balance[0] in _BALANCES - {"roundrobin"}:
        traffic["balance"] = balance[0]
    if all(origin.backup for origin in origins.values()):
        return None
    return tuple(origins.values()), traffic


def _default_server(section: Section) -> tuple[str, ...]:
    lines = (*section.defaults, *section.lines)
    return tuple(word for line in lines if line.words[0] == "default-server" for word in line.words[1:])


def _server(line: Line, defaults: Sequence[str]) -> tuple[ConfigOrigin, dict[str, str]]:
    """Return the origin of a `server` line, and its options."""
    if len(line.words) < 3:
        raise NotTaken("it has no address")
    address, port = _address(line.words[2])
    options = _options([*defaults, *line.words[3:]])
    try:
        weight = int(options.get("weight", "") or 100)
    except ValueError as error:
        raise NotTaken("its weight is no number") from error
    if not 0 <= weight <= 256:
        raise NotTaken("its weight is not from 0 to 256")
    tls: Literal["off", "on", "verify"] = "off"
    if "ssl" in options:
        tls = "on" if options.get("verify") == "none" else "verify"
    origin = ConfigOrigin(
        address=address,
        port=port,
        weight=weight,
        backup="backup" in options,
        enabled="disabled" not in options,
        tls=tls,
    )
    return origin, options


def _options(words: Sequence[str]) -> dict[str, str]:
    """Return {option: value or nothing}; `no-ssl` and the like take an earlier one back."""
    options: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word in _WITH_VALUE and left:
            options[word] = left.pop(0)
        elif word.startswith("no-"):
            options.pop(word[3:], None)
        else:
            options[word] = ""
    return options


def _address(text: str) -> tuple[str, int]:
    """Return host and port of a server's address (manual, 11.1)."""
    bare = re.sub(r"\A(?:ipv4|ipv6|tcp|tcp4|tcp6)@", "", text)
    if "@" in bare or bare.startswith("/") or "$" in bare:
        raise NotTaken("sockets, descriptors and variables are no addresses that a shield can reach")
    host, colon, port = bare.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise NotTaken("it has no port of its own, such as 203.0.113.7:8080")
    host = host.removeprefix("[").removesuffix("]").lower().removesuffix(".")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        if host != "localhost" and not _HOSTNAME.match(host):
            raise NotTaken(f"“{host[:80]}” is neither an address nor a full hostname") from None
        return host, int(port)
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local:
        raise NotTaken(f"{ip} is no address that a shield can reach")
    return str(ip), int(port)
