"""Domain -> its backends in haproxy.cfg, and the pages that they refer to.

The rules of `defaults shield` (who is asking, the policy) stand before those of a backend.
"""

import hashlib
import ipaddress

from msgspec import structs

from lumos_agent.render.clients import client_certificate_lines
from lumos_agent.render.words import AS_HTML, literal, quoted
from lumos_agent.schema import Domain
from lumos_agent.traffic import HeaderRule, Health, Hsts, Pages, Redirect, Target, Traffic
from lumos_agent.tunnel import SUFFIX

COMPRESSED = (
    "text/html text/plain text/css text/xml text/javascript application/javascript application/json application/xml "
    "application/wasm image/svg+xml"
)
_PAGE_STATUS = {"denied": 403, "too_many": 429, "bad_gateway": 502, "unavailable": 503}
# Whoever runs origins under a CA of his own names it in the service's environment.
_ORIGIN_CA = '"${LUMOS_ORIGIN_CA-@system-ca}"'
# Stands for the origin of a tunnel that is not there (yet): an address that is nobody's (RFC 7600).
_NOWHERE = "192.0.0.8"
_REQUEST_IDS_MAX = 5  # in one page: the answer must fit into a buffer


def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that an origin's address is, or None for a hostname."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def has_names(domain: Domain) -> bool:
    """Whether an origin must be resolved."""
    targets = [*domain.origins, *(target for route in domain.traffic.routes for target in route.origins)]
    return any(ip_of(target.address) is None and not _is_waiting(target) for target in targets)


def _is_waiting(target: Target) -> bool:
    """Whether this is the name of a tunnel, which only `with_addresses` resolves: its origin has not joined."""
    return target.address.endswith(SUFFIX)


def _visible_name(domain: Domain) -> str:
    """Return the hostname that requests of our own (checks, SNI) carry."""
    return domain.traffic.origin_host or domain.hostname.removeprefix("*.").removeprefix("*")


def server_line(name: str, target: Target, domain: Domain, *, enabled: bool = True) -> str:
    """Return one `server` line. What the runtime API can change stands last (plan.py)."""
    if _is_waiting(target):
        target, enabled = structs.replace(target, address=_NOWHERE), False
    traffic, ip = domain.traffic, ip_of(target.address)
    words = ["    server", name]
    words.append(f"{target.address}:{target.port}" if ip is None or ip.version == 4 else f"[{ip}]:{target.port}")
    if ip is None:
        words.append("resolvers lumos init-addr last,libc,none")
    words += _tls_words(target, domain)
    if traffic.origin_http2 and target.tls == "off":
        words.append("proto h2")
    if traffic.proxy_protocol != "off":
        words.append({"v1": "send-proxy", "v2": "send-proxy-v2"}[traffic.proxy_protocol])
    if traffic.sticky_cookie:
        words.append(f"cookie {hashlib.sha256(name.encode()).hexdigest()[:12]}")
    if target.backup:
        words.append("backup")
    words.append(f"weight {target.weight}")
    if not enabled:
        words.append("disabled")
    return " ".join(words)


def _tls_words(target: Target, domain: Domain) -> list[str]:
    if target.tls == "off" or domain.traffic.passthrough is not None:
        return []
    own_name = target.address if ip_of(target.address) is None else _visible_name(domain)
    sni = domain.traffic.origin_sni or domain.traffic.origin_host or own_name
    words = ["ssl", "verify none" if target.tls == "on" else f"verify required ca-file {_ORIGIN_CA}"]
    if sni:
        words.append(f"sni str({sni}) check-sni {sni}")
    if domain.traffic.origin_http2:
        words.append("alpn h2,http/1.1")
    return words


def _health_lines(health: Health | None, host: str) -> list[str]:
    if health is None:
        return []
    sent = f"http-check send meth GET uri {literal(health.path)} ver HTTP/1.1 hdr User-Agent Lumos-health-check"
    return [
        "option httpchk",
        sent + (f" hdr Host {host}" if host else ""),
        f"http-check expect status {health.status}",
        f"default-server check inter {health.interval_seconds}s rise {health.rise} fall {health.fall}",
    ]


def _header_line(rule: HeaderRule) -> str:
    where = f"http-{rule.on}"
    if rule.action == "remove":
        return f"{where} del-header {quoted(rule.name)}"
    return f"{where} {rule.action}-header {quoted(rule.name)} {literal(rule.value)}"


def _hsts_line(hsts: Hsts) -> str:
    value = f"max-age={hsts.seconds}" + "; includeSubDomains" * hsts.subdomains + "; preload" * hsts.preload
    return f"http-response set-header Strict-Transport-Security {quoted(value)} if {{ ssl_fc }}"


def _redirect_line(redirect: Redirect) -> str:
    path, to = redirect.path, redirect.to
    if redirect.exact:
        return (
            f"http-request redirect location {literal(to)} code {redirect.status} if {{ path -m str {quoted(path)} }}"
        )
    below = path if path.endswith("/") else path + "/"
    rest = f"%[pathq,bytes({len(path)})]"
    location = quoted(to.replace("%", "%%") + rest)
    condition = f"{{ path -m str {quoted(path)} }} or {{ path -m beg {quoted(below)} }}"
    return f"http-request redirect location {location} code {redirect.status} if {condition}"


def _maintenance_lines(domain: Domain) -> list[str]:
    if not domain.traffic.maintenance:
        return []
    page = page_name(domain.id, "maintenance") if domain.traffic.pages.maintenance else "errors/maintenance.html"
    allowed = [f"acl may_pass src {network}" for network in domain.traffic.maintenance_allow]
    answer = f"http-request return status 503 {AS_HTML} lf-file {page} hdr Retry-After 300"
    # HAProxy warns about rules after a final one without a condition.
    return [*allowed, answer + (" if !may_pass" if allowed else " if TRUE")]


def _limit_lines(traffic: Traffic) -> list[str]:
    lines = []
    if traffic.only_trusted_proxies:
        lines.append("http-request deny deny_status 403 if !{ var(txn.via) -m found }")
    if not traffic.websockets:
        lines.append("http-request deny deny_status 403 if { req.hdr(upgrade) -m str -i websocket }")
    return lines


def _filter_lines(traffic: Traffic) -> list[str]:
    lines = []
    if traffic.cache:
        lines += ["filter cache small", "http-request cache-use small", "http-response cache-store small"]
    if traffic.compression:
        lines += ["filter compression", "compression algo gzip", f"compression type {COMPRESSED}"]
    return lines


def _common_lines(domain: Domain) -> list[str]:
    """Return what all backends of a domain share."""
    traffic = domain.traffic
    lines = [
        f"http-error status {status} {AS_HTML} lf-file {page_name(domain.id, kind)}"
        for kind, status in _PAGE_STATUS.items()
        if getattr(traffic.pages, kind)
    ]
    lines += _maintenance_lines(domain)
    if traffic.https_redirect:
        lines.append("http-request redirect scheme https code 301 if !{ ssl_fc }")
    lines += [_redirect_line(redirect) for redirect in traffic.redirects]
    lines += client_certificate_lines(domain)
    lines += _limit_lines(traffic)
    if traffic.origin_host:
        lines.append(f"http-request set-header Host {traffic.origin_host}")
    own = (rule for rule in traffic.headers if rule.on == "request" and rule.action != "add")
    if not any(rule.name.lower() == "x-forwarded-for" for rule in own):
        lines.append("option forwardfor")
    lines += [_header_line(rule) for rule in traffic.headers]
    if traffic.hsts is not None:
        lines.append(_hsts_line(traffic.hsts))
    return lines + _filter_lines(traffic) + _balance_lines(domain)


def _balance_lines(domain: Domain) -> list[str]:
    traffic, standard = domain.traffic, Traffic()
    lines = []
    if traffic.balance != standard.balance:
        lines.append(f"balance {traffic.balance}")
    if traffic.timeouts != standard.timeouts:
        times = traffic.timeouts
        lines.append(f"timeout connect {times.connect_seconds}s")
        lines.append(f"timeout server {times.server_seconds}s")
        lines.append(f"timeout tunnel {times.tunnel_seconds}s")
    if traffic.sticky_cookie:
        lines.append(f"cookie {traffic.sticky_cookie} insert indirect nocache httponly attr SameSite=Lax")
    return lines + _health_lines(traffic.health, _visible_name(domain))


def _passthrough_lines(domain: Domain) -> list[str]:
    """Return what decides about a TLS connection that goes through; lists stand before, in `defaults passed`."""
    traffic, limits = domain.traffic, domain.traffic.passthrough
    lines = [
        f"timeout tunnel {traffic.timeouts.tunnel_seconds}s",
        f"timeout connect {traffic.timeouts.connect_seconds}s",
    ]
    if limits is not None and (limits.connections_max or limits.connections_per_minute):
        lines.append("stick-table type ipv6 size 100k expire 2m store conn_cur,conn_rate(1m)")
        lines.append("tcp-request content track-sc0 src,ipmask(32,64)")
        if limits.connections_max:
            lines.append(f"tcp-request content reject if {{ sc0_conn_cur gt {limits.connections_max} }}")
        if limits.connections_per_minute:
            lines.append(f"tcp-request content reject if {{ sc0_conn_rate gt {limits.connections_per_minute} }}")
    if traffic.balance != Traffic().balance:
        lines.append(f"balance {traffic.balance}")
    name = _visible_name(domain)
    lines += _health_lines(traffic.health, name)
    if traffic.health is not None:
        lines.append("default-server check-ssl verify none" + (f" check-sni {name}" if name else ""))
    return lines


# Without TLS a visitor is sent to it; a request that came by TLS under another name finds nothing here.
_PLAIN_LINES = [
    f"http-request return status 421 {AS_HTML} lf-file errors/421.html if {{ ssl_fc }}",
    "http-request redirect scheme https code 301 if !{ ssl_fc }",
]


def _section(name: str, lines: list[str], defaults: str = "shield") -> str:
    return f"\nbackend {name} from {defaults}\n" + "".join(f"    {line.strip()}\n" for line in lines)


def backends(domain: Domain) -> str:
    """Return the backends of a domain, those of its routes included."""
    if domain.traffic.passthrough is not None:
        return _passed_through(domain)
    common = _common_lines(domain)
    servers = [server_line(f"o-{o.id}", o, domain, enabled=o.enabled) for o in domain.origins]
    text = _section(f"d-{domain.id}", [*common, *servers])
    for number, route in enumerate(domain.traffic.routes):
        targets = [server_line(f"t-{index}", target, domain) for index, target in enumerate(route.origins)]
        text += _section(route_backend(domain.id, number), [*common, *targets])
    return text


def _passed_through(domain: Domain) -> str:
    """Return the backends for requests without TLS and for connections; settings of requests are left out."""
    traffic = domain.traffic
    holding = {
        name: getattr(traffic, name) for name in ("passthrough", "balance", "health", "timeouts", "proxy_protocol")
    }
    domain = structs.replace(domain, traffic=Traffic(**holding))
    servers = [server_line(f"o-{o.id}", o, domain, enabled=o.enabled) for o in domain.origins]
    passed = _section(f"d-{domain.id}-p", [*_passthrough_lines(domain), *servers], "passed")
    return _section(f"d-{domain.id}", _PLAIN_LINES) + passed


def route_backend(domain_id: str, number: int) -> str:
    """Return the name of a route's backend; its counters belong to the domain (counters.py)."""
    return f"d-{domain_id}-r{number}"


def route_entries(domain: Domain) -> dict[str, str]:
    """Return {domain id + path + slash: backend}; the shield looks up its request's path with a slash appended."""
    return {
        f"{domain.id}{route.path.rstrip('/')}/": route_backend(domain.id, number)
        for number, route in enumerate(domain.traffic.routes)
    }


def page_name(domain_id: str, kind: str) -> str:
    """Return the path of a page, relative to the configuration."""
    return f"pages/{domain_id}-{kind}.html"


def page_files(domain: Domain) -> dict[str, bytes]:
    """Return {path: content} of the pages of a domain's own, as log-formats."""
    files = {}
    for kind in Pages.__struct_fields__:
        if html := getattr(domain.traffic.pages, kind):
            text = html.replace("%", "%%").replace("{request_id}", "%[unique-id]", _REQUEST_IDS_MAX)
            files[page_name(domain.id, kind)] = text.encode()
    return files
