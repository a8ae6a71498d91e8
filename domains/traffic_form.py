"""The traffic settings of a domain as one form: stored settings in, what `change_domain` takes out."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from django import forms

from domains import traffic_lines
from domains.cdn_networks import cdn_choices
from domains.form_fields import LinesField, limit_field, number_field, page_field, switch_field, unix_lines
from lumos.errors import AppError
from lumos.forms import LumosForm
from lumos_agent.traffic import Health, Hsts, Pages, Passthrough, Timeouts, Traffic

_MIB = 2**20
_KEPT = "kept"
_HSTS = {
    "off": None,
    "year": Hsts(),
    "subdomains": Hsts(subdomains=True),
    "preload": Hsts(subdomains=True, preload=True),
}
# Settings whose form field has the same name and value.
_PLAIN = (
    "balance", "sticky_cookie", "https_redirect", "websockets", "compression", "cache", "proxy_protocol",
    "origin_http2", "origin_host", "origin_sni", "trusted_cdns", "only_trusted_proxies", "maintenance",
)  # fmt: skip
_LINES: dict[str, Callable[[Any], str]] = {
    "routes": traffic_lines.route_line,
    "redirects": traffic_lines.redirect_line,
    "headers": traffic_lines.header_line,
    "trusted_proxies": str,
    "maintenance_allow": str,
}
_BLAMED = {"health": "health_status"}  # of a mistake in the part as a whole
_PLACE = re.compile(r"traffic\.(?P<name>\w+)(?:\[(?P<index>\d+)\])?(?:\.(?P<part>\w+))?")


class TrafficForm(LumosForm):
    """Every setting of `lumos_agent.traffic.Traffic` but the count of purges.

    Fields are named as the settings are, those of a part with the part's name before it.
    """

    balance = forms.ChoiceField(
        label="Which origin gets a request",
        choices=[
            ("roundrobin", "In turn, by weight"),
            ("leastconn", "The one with the fewest connections"),
            ("source", "Always the same one for a client address"),
        ],
    )
    sticky_cookie = forms.CharField(
        required=False,
        label="Sticky cookie",
        help_text="A name such as SRV keeps a visitor at one origin. Empty: none.",
    )
    health = switch_field(
        "Check the origins", "An origin that fails its checks gets no requests until it passes them again."
    )
    health_path = forms.CharField(required=False, label="Path of the check")
    health_status = forms.CharField(required=False, label="Good statuses", help_text="For example 200-399,404.")
    health_interval_seconds = number_field("Check every (s)", 3600)
    health_rise = number_field("Passes until up", 20)
    health_fall = number_field("Failures until down", 20)
    timeouts_connect_seconds = number_field("Connect within (s)", 60)
    timeouts_server_seconds = number_field("Answer within (s)", 3600)
    timeouts_tunnel_seconds = number_field("Idle WebSocket ends after (s)", 86_400)

    https_redirect = switch_field("Redirect HTTP to HTTPS")
    hsts = forms.ChoiceField(
        label="HSTS",
        help_text="Browsers then refuse plain HTTP for that long; you cannot take it back early.",
        choices=[
            ("off", "Off"),
            ("year", "1 year"),
            ("subdomains", "1 year, with subdomains"),
            ("preload", "1 year, with subdomains, preload"),
            (_KEPT, "As set through the API"),
        ],
    )
    body_mib_max = forms.DecimalField(
        min_value=0,
        max_value=_MIB,
        decimal_places=7,
        required=False,
        label="Largest request body (MiB)",
        help_text="0: no limit. Uploads without a Content-Length are refused if there is one.",
        widget=forms.NumberInput({"step": "any"}),
    )
    websockets = switch_field("WebSockets", "Off: requests to open one get 403.")

    client_certificates = forms.ChoiceField(
        label="Visitors show a certificate",
        choices=[
            ("off", "No"),
            ("optional", "If they have one"),
            ("required", "Always: everybody else gets 403"),
        ],
    )
    client_certificates_ca = forms.CharField(
        required=False,
        label="Issued by these CAs",
        help_text="CA certificates in PEM form. Your origin learns who it is from X-Client-Certificate-Status "
        "(verified, invalid or none), -Subject, -Serial and -Fingerprint (SHA-256).",
        widget=forms.Textarea({"rows": 5, "spellcheck": "false", "wrap": "off"}),
    )

    passthrough = switch_field(
        "Pass TLS through", "Connections go to the origin as they are, and visitors see its certificate."
    )
    passthrough_connections_max = limit_field("Connections of one address at once")
    passthrough_connections_per_minute = limit_field("New connections of one address per minute")

    compression = switch_field("Compress answers", "Text of origins that do not compress it themselves.")
    cache = switch_field("Cache answers", "What the origin's Cache-Control allows, up to 256 KiB each.")

    proxy_protocol = forms.ChoiceField(
        label="PROXY protocol", choices=[("off", "Off"), ("v1", "Version 1"), ("v2", "Version 2")]
    )
    origin_http2 = switch_field("HTTP/2 to the origin")
    origin_host = forms.CharField(
        required=False,
        label="Host header",
        help_text="What the origin sees instead of the visitor's. Empty: unchanged.",
    )
    origin_sni = forms.CharField(
        required=False,
        label="SNI",
        help_text="The name in the origin's certificate. Empty: the Host header above or the hostname.",
    )

    trusted_cdns = forms.MultipleChoiceField(
        required=False,
        label="CDNs in front of this domain",
        choices=cdn_choices,
        widget=forms.SelectMultiple({"size": 2}),
        help_text="Their X-Forwarded-For names the visitor. Lumos asks them for their networks once a day.",
    )
    trusted_proxies = LinesField(
        str,
        label="Trusted proxies",
        help_text="One address or network per line, such as 203.0.113.0/24: their X-Forwarded-For names the visitor.",
    )
    only_trusted_proxies = switch_field(
        "Only they may connect",
        "Everybody else gets 403. All customers of a CDN come from its networks: have it send a secret header too, "
        "and check it with a custom rule.",
    )

    routes = LinesField(
        traffic_lines.route_rule,
        rows=5,
        help_text="A path and its origins: /api http://10.0.0.5:8080 weight=10 https://10.0.0.6 backup. The longest "
        "path wins. https checks the origin's certificate, https+insecure does not.",
    )
    redirects = LinesField(
        traffic_lines.redirect_rule,
        rows=5,
        help_text="/old https://new.example/ 301, or /blog /news 308 prefix, which carries along what follows /blog.",
    )
    headers = LinesField(
        traffic_lines.header_rule,
        rows=5,
        help_text="request set X-Name: value (replaces it), response add X-Name: value, response remove Server.",
    )

    maintenance = switch_field("Maintenance", "Visitors get the maintenance page with status 503.")
    maintenance_allow = LinesField(
        str, label="Who passes nevertheless", help_text="One address or network per line, such as 198.51.100.7."
    )

    pages_denied = page_field("403: access denied")
    pages_too_many = page_field("429: too many requests")
    pages_bad_gateway = page_field("502: bad gateway")
    pages_unavailable = page_field("503: site unavailable")
    pages_maintenance = page_field("Maintenance")

    CARDS = (
        ("Balancing and checks", "", ("balance", "sticky_cookie", "health", "timeouts")),
        ("HTTPS", "", ("https_redirect", "hsts")),
        ("Client certificates", "", ("client_certificates",)),
        ("TLS passthrough", "Nobody then looks inside requests: the WAF, rates, the bot check, certificates of this "
         "domain and all settings here but balancing, checks, timeouts and the PROXY protocol have no effect. Lists of "
         "networks and countries hold. Requests without TLS are redirected to HTTPS.", ("passthrough",)),
        ("Limits", "", ("body_mib_max", "websockets")),
        ("Speed", "", ("compression", "cache")),
        ("Origin connection", "", ("proxy_protocol", "origin_http2", "origin_host", "origin_sni")),
        ("Behind another CDN", "", ("trusted_cdns", "trusted_proxies", "only_trusted_proxies")),
        ("Routes", "", ("routes",)),
        ("Redirects", "", ("redirects",)),
        ("Headers", "", ("headers",)),
        ("Maintenance", "", ("maintenance",)),
        ("Pages", "HTML, at most 8192 characters each; empty means ours. {request_id} becomes the id of the request, "
         "by which you find it in your logs and in the WAF events.", ("pages",)),
    )  # fmt: skip

    def __init__(self, data: Any, stored: Traffic) -> None:
        self._stored = stored
        super().__init__(data, initial=_initial(stored))
        if self.initial["hsts"] != _KEPT:
            self.fields["hsts"].choices = self.fields["hsts"].choices[:-1]  # type: ignore[attr-defined]

    def cards(self) -> Iterator[tuple[str, str, list[forms.BoundField]]]:
        """Yield (title, explanation, fields) in the order of the page; a name stands for all fields that begin so."""
        for title, text, names in self.CARDS:
            yield title, text, [self[f] for f in self.fields if any(f == n or f.startswith(f"{n}_") for n in names)]

    def settings(self) -> dict[str, Any]:
        """Return all settings for `change_domain`; the purges stay, and so does HSTS that the form cannot express."""
        data = self.cleaned_data
        result = {name: data[name] for name in _PLAIN}
        result |= {name: [value for _, value in data[name]] for name in _LINES}
        result["health"] = self._part("health", Health) if data["health"] else None
        result["timeouts"] = self._part("timeouts", Timeouts)
        result["pages"] = self._pages()
        result["client_certificates"] = self._client_certificates()
        result["passthrough"] = self._part("passthrough", Passthrough) if data["passthrough"] else None
        mib = data["body_mib_max"] or 0
        result["body_bytes_max"] = max(round(mib * _MIB), 1) if mib else 0
        if data["hsts"] != _KEPT:
            result["hsts"] = msgspec.to_builtins(_HSTS[data["hsts"]])
        return result

    def _part(self, prefix: str, part: type[msgspec.Struct]) -> dict[str, Any]:
        """Return the fields of a part; an empty one takes its default."""
        values = {name: self.cleaned_data[f"{prefix}_{name}"] for name in part.__struct_fields__}
        return {name: value for name, value in values.items() if value not in (None, "")}

    def _client_certificates(self) -> dict[str, str] | None:
        mode = self.cleaned_data["client_certificates"]
        return None if mode == "off" else {"mode": mode, "ca": self.cleaned_data["client_certificates_ca"]}

    def _pages(self) -> dict[str, str]:
        """Return the pages. Browsers send line ends of their own, so a page that differs in them only stays."""
        result = {}
        for name in Pages.__struct_fields__:
            given, known = unix_lines(self.cleaned_data[f"pages_{name}"]), getattr(self._stored.pages, name)
            result[name] = known if given == unix_lines(known) else given
        return result

    def show(self, error: AppError) -> None:
        """Attach a refusal to the field of its setting, with the line that it is about."""
        place = _PLACE.match(error.field or "")
        if place is None:
            self.add_error(None, error.detail)
            return
        name, detail = place["name"], error.detail
        if name in _LINES and place["index"]:
            detail = f"Line {self.cleaned_data[name][int(place['index'])][0]}: {detail}"
        candidates = (f"{name}_{place['part']}", _BLAMED.get(name, name))
        self.add_error(next((field for field in candidates if field in self.fields), None), detail)


def _initial(traffic: Traffic) -> dict[str, Any]:
    """Return what the form shows at first."""
    values: dict[str, Any] = {name: getattr(traffic, name) for name in _PLAIN}
    for name, line in _LINES.items():
        values[name] = "\n".join(line(item) for item in getattr(traffic, name))
    parts: dict[str, Any] = {"health": traffic.health or Health(), "passthrough": traffic.passthrough or Passthrough()}
    parts |= {"timeouts": traffic.timeouts, "pages": traffic.pages}
    for prefix, part in parts.items():
        values |= {f"{prefix}_{name}": getattr(part, name) for name in part.__struct_fields__}
    clients = traffic.client_certificates
    values["client_certificates"], values["client_certificates_ca"] = (
        (clients.mode, clients.ca) if clients else ("off", "")
    )
    values["passthrough"] = traffic.passthrough is not None
    values["health"] = traffic.health is not None
    values["body_mib_max"] = f"{traffic.body_bytes_max / _MIB:.7f}".rstrip("0").rstrip(".")
    values["hsts"] = next((choice for choice, hsts in _HSTS.items() if hsts == traffic.hsts), _KEPT)
    return values
