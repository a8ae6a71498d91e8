"""Rules of a domain whose visitors show certificates."""

import re

from lumos_agent.render.words import AS_HTML, quoted
from lumos_agent.schema import Domain

_CLIENT = "X-Client-Certificate-"
# RFC 4514 leaves no control character in a name as it is.
_ABOUT_CLIENT = (
    ("Subject", "ssl_c_s_dn(,0,rfc2253)"),
    ("Serial", "ssl_c_serial,hex"),
    ("Fingerprint", "ssl_c_der,sha2(256),hex"),
)


def _other_name(hostname: str) -> str:
    """Return the condition that a visitor asked for another domain in TLS than in the request."""
    if hostname[0] != "*":
        return f"!{{ ssl_fc_sni -m str -i {hostname} }}"
    pattern = quoted(f"^[^.]+{re.escape(hostname[1:])}$")
    return (
        f"!{{ ssl_fc_sni -m reg -i {pattern} }} or {{ ssl_fc }} {{ ssl_fc_sni,lower,map_str(maps/hosts.map) -m found }}"
    )


def client_certificate_lines(domain: Domain) -> list[str]:
    """Return what tells the origin who the visitor is, and stops who may not in.

    TLS asks for a certificate by the name there (served.py), and lets everybody in; only here it is known whether the
    request is for the same name. A visitor whose browser uses another name's connection is told to open a new one.
    """
    wanted = domain.traffic.client_certificates
    if wanted is None:
        return []
    verified = "{ ssl_c_used } { ssl_c_verify 0 }"
    lines = [
        f"http-request return status 421 {AS_HTML} lf-file errors/421.html "
        f"if {{ ssl_fc }} {_other_name(domain.hostname)}"
    ]
    if wanted.mode == "required":
        page = "" if domain.traffic.pages.denied else f" {AS_HTML} lf-file errors/certificate.html"
        lines.append(f"http-request deny deny_status 403{page} if !{{ ssl_c_used }} or !{{ ssl_c_verify 0 }}")
    else:
        lines.append(f"http-request set-header {_CLIENT}Status none if !{{ ssl_c_used }}")
        lines.append(f"http-request set-header {_CLIENT}Status invalid if {{ ssl_c_used }} !{{ ssl_c_verify 0 }}")
    lines.append(f"http-request set-header {_CLIENT}Status verified if {verified}")
    return lines + [
        f"http-request set-header {_CLIENT}{name} %[{value}] if {verified}" for name, value in _ABOUT_CLIENT
    ]
