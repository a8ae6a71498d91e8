"""The traffic settings of one domain: part of the snapshot, and the shape of `traffic` in the API."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from lumos_agent import cdns
from lumos_agent.grammar import (
    Address,
    Bundle,
    CookieName,
    HeaderName,
    HeaderValue,
    Html,
    Location,
    NameOrNone,
    Network,
    Path,
    PathAndQuery,
    Port,
    StatusList,
    Weight,
)

Seconds = Annotated[int, Meta(ge=1, le=3600)]
_FRAMING = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
Times = Annotated[int, Meta(ge=1, le=20)]


class Setting(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base: what has its default is not written."""


class Target(Setting, frozen=True, kw_only=True):
    """An address that requests go to: IP in canonical form or hostname (RFC 1123)."""

    address: Address
    port: Port
    weight: Weight = 100
    backup: bool = False
    tls: Literal["off", "on", "verify"] = "off"


class Health(Setting, frozen=True, kw_only=True):
    """An HTTP check of every origin."""

    path: PathAndQuery = "/"
    status: StatusList = "200-399"
    interval_seconds: Seconds = 10
    rise: Times = 2
    fall: Times = 3

    def __post_init__(self) -> None:
        for part in self.status.split(","):
            first, _, last = part.partition("-")
            if last and int(last) < int(first):
                raise ValueError(f"{part} is no range of status codes: the smaller one stands first")


class Timeouts(Setting, frozen=True, kw_only=True):
    """How long to wait: for a connection, for an answer, and on an idle WebSocket or tunnel."""

    connect_seconds: Annotated[int, Meta(ge=1, le=60)] = 3
    server_seconds: Seconds = 60
    tunnel_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 3600


class HeaderRule(Setting, frozen=True, kw_only=True):
    """Set (replace), add or remove one header of requests to the origin or responses to the visitor."""

    on: Literal["request", "response"]
    action: Literal["set", "add", "remove"]
    name: HeaderName
    value: HeaderValue = ""

    def __post_init__(self) -> None:
        if self.name.lower() in _FRAMING:
            raise ValueError(f"{self.name} belongs to the connection and cannot be changed")
        if self.action != "remove" and not self.value:
            raise ValueError(f"{self.name} has no value; use the action remove to take it away")


class Route(Setting, frozen=True, kw_only=True):
    """Requests whose path begins with `path` go to other origins; the longest path wins."""

    path: Path
    origins: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=16)]


class Redirect(Setting, frozen=True, kw_only=True):
    """Send the visitor elsewhere. `exact` compares the whole path; otherwise what follows `path` is appended."""

    path: Path
    to: Annotated[Location, Meta(min_length=1)]
    status: Literal[301, 302, 307, 308] = 302
    exact: bool = True


class Hsts(Setting, frozen=True, kw_only=True):
    """Strict-Transport-Security (RFC 6797)."""

    seconds: Annotated[int, Meta(ge=0, le=63_072_000)] = 31_536_000
    subdomains: bool = False
    preload: bool = False


class Pages(Setting, frozen=True, kw_only=True):
    """Pages of the site's own; ``{request_id}`` is replaced. Empty means ours."""

    denied: Html = ""
    too_many: Html = ""
    bad_gateway: Html = ""
    unavailable: Html = ""
    maintenance: Html = ""


class ClientCertificates(Setting, frozen=True, kw_only=True):
    """Visitors show a certificate that one of the CAs in `ca` (PEM) issued.

    The origin learns it from headers that begin with X-Client-Certificate-. `optional` also lets others in.
    """

    mode: Literal["optional", "required"] = "required"
    ca: Bundle


class Passthrough(Setting, frozen=True, kw_only=True):
    """TLS connections go to the origins as they are, by the name that visitors ask for.

    Limits are per address (IPv6: /64); 0 is no limit.
    """

    connections_max: Annotated[int, Meta(ge=0, le=100_000)] = 0
    connections_per_minute: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Traffic(Setting, frozen=True, kw_only=True):
    """How a domain's requests travel."""

    balance: Literal["roundrobin", "leastconn", "source"] = "roundrobin"
    health: Health | None = None
    sticky_cookie: CookieName = ""
    timeouts: Timeouts = Timeouts()
    headers: Annotated[tuple[HeaderRule, ...], Meta(max_length=50)] = ()
    routes: Annotated[tuple[Route, ...], Meta(max_length=50)] = ()
    redirects: Annotated[tuple[Redirect, ...], Meta(max_length=200)] = ()
    https_redirect: bool = False
    hsts: Hsts | None = None
    body_bytes_max: Annotated[int, Meta(ge=0, le=2**40, description="0: no limit.")] = 0
    websockets: bool = True
    compression: bool = False
    cache: bool = False
    cache_purges: Annotated[int, Meta(ge=0, le=2**31)] = 0
    proxy_protocol: Literal["off", "v1", "v2"] = "off"
    origin_http2: bool = False
    origin_host: NameOrNone = ""
    origin_sni: NameOrNone = ""
    trusted_proxies: Annotated[tuple[Network, ...], Meta(max_length=1000)] = ()
    trusted_cdns: Annotated[tuple[cdns.Name, ...], Meta(max_length=8)] = ()
    only_trusted_proxies: bool = False
    client_certificates: ClientCertificates | None = None
    passthrough: Passthrough | None = None
    maintenance: bool = False
    maintenance_allow: Annotated[tuple[Network, ...], Meta(max_length=100)] = ()
    pages: Pages = Pages()
