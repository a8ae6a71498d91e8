"""Rendering: deterministic, and nothing of the input becomes a directive."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumos_agent import grammar
from lumos_agent.certificates import make_default_certificate
from lumos_agent.drivers.build import installed_build
from lumos_agent.guard import WINDOWS_SECONDS, BotCheck, Guard, RateRule
from lumos_agent.render.haproxy import Artefact, Identity, Options, lua_bundle, map_text, render
from lumos_agent.schema import CustomRule, Domain, Origin, Policy, SchemaError, Script, Snapshot, listings
from lumos_agent.traffic import (
    ClientCertificates,
    HeaderRule,
    Health,
    Hsts,
    Pages,
    Passthrough,
    Redirect,
    Route,
    Target,
    Traffic,
)
from tests.agent.builders import domain, ident, snapshot

_INSIDE = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", max_size=40)
_EDGE = st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789")
_LABELS = st.builds(lambda first, inside, last: first + inside + last, _EDGE, _INSIDE, _EDGE)
_HOSTNAMES = st.builds(
    lambda labels, top: ".".join([*labels, f"x{top}"]), st.lists(_LABELS, min_size=1, max_size=4), _LABELS
)
_ADDRESSES = st.one_of(st.ip_addresses().map(str), _HOSTNAMES)
_NETWORKS = st.lists(st.ip_addresses().map(lambda ip: f"{ip}/{ip.max_prefixlen}"), max_size=3, unique=True).map(tuple)
_SERVED = st.one_of(_HOSTNAMES, _HOSTNAMES.map(lambda name: f"*.{name}"), st.just("*"))


def _text(constrained: Any) -> st.SearchStrategy[str]:
    """Return texts that a constrained type accepts, without those that its other limits refuse."""
    meta = constrained.__metadata__[0]
    return st.from_regex(meta.pattern, fullmatch=True).filter(lambda text: _accepted(text, constrained))


# As their grammars say; made by parts, because texts that match their patterns are slow to find.
_NAMES_OR_NONE = st.just("") | _LABELS | _HOSTNAMES
_BASE64 = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", min_size=1, max_size=64)
_BUNDLES = st.lists(st.lists(_BASE64, min_size=1, max_size=4), min_size=1, max_size=3).map(lambda found: _bundle(found))


def _bundle(certificates: list[list[str]]) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return "".join("\n".join([begin, *lines, end, ""]) for lines in certificates)


def _accepted(text: str, constrained: Any) -> bool:
    try:
        msgspec.convert(text, constrained)
    except msgspec.ValidationError:
        return False
    return True


_TARGETS = st.builds(
    Target,
    address=_ADDRESSES,
    port=st.integers(1, 65535),
    weight=st.integers(0, 256),
    backup=st.booleans(),
    tls=st.sampled_from(["off", "on", "verify"]),
)
_HTML = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=200)
_TRAFFIC = st.builds(
    Traffic,
    balance=st.sampled_from(["roundrobin", "leastconn", "source"]),
    health=st.none()
    | st.builds(
        Health, path=_text(grammar.PathAndQuery), status=st.sampled_from(["200", "200-399", "100-599,404,500-501"])
    ),
    sticky_cookie=_text(grammar.CookieName),
    headers=st.lists(
        st.builds(
            HeaderRule,
            on=st.sampled_from(["request", "response"]),
            action=st.sampled_from(["set", "add", "remove"]),
            name=_text(grammar.HeaderName).filter(
                lambda name: name.lower() not in {"te", "host", "upgrade", "trailer"}
            ),
            value=_text(grammar.HeaderValue).filter(bool),
        ),
        max_size=4,
    ).map(tuple),
    routes=st.lists(
        st.builds(Route, path=_text(grammar.Path), origins=st.lists(_TARGETS, min_size=1, max_size=2).map(tuple)),
        max_size=2,
    ).map(tuple),
    redirects=st.lists(
        st.builds(
            Redirect,
            path=_text(grammar.Path),
            to=_text(grammar.Location).filter(bool),
            status=st.sampled_from([301, 302, 307, 308]),
            exact=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    https_redirect=st.booleans(),
    hsts=st.none() | st.builds(Hsts, subdomains=st.booleans(), preload=st.booleans()),
    body_bytes_max=st.integers(0, 2**40),
    websockets=st.booleans(),
    compression=st.booleans(),
    cache=st.booleans(),
    proxy_protocol=st.sampled_from(["off", "v1", "v2"]),
    origin_http2=st.booleans(),
    origin_host=_NAMES_OR_NONE,
    origin_sni=_NAMES_OR_NONE,
    trusted_proxies=_NETWORKS,
    trusted_cdns=st.sampled_from([(), ("cloudflare",), ("cloudflare", "fastly")]),
    only_trusted_proxies=st.booleans(),
    client_certificates=st.none()
    | st.builds(ClientCertificates, mode=st.sampled_from(["optional", "required"]), ca=_BUNDLES),
    passthrough=st.none()
    | st.builds(Passthrough, connections_max=st.integers(0, 9), connections_per_minute=st.integers(0, 9)),
    maintenance=st.booleans(),
    maintenance_allow=_NETWORKS,
    pages=st.builds(Pages, denied=_HTML, too_many=_HTML, bad_gateway=_HTML, unavailable=_HTML, maintenance=_HTML),
)
_RATES = st.builds(
    RateRule,
    id=_text(grammar.RateName),
    requests=st.integers(1, 100_000),
    window_seconds=st.sampled_from(WINDOWS_SECONDS),
    key=st.just("cookie"),
    name=_text(grammar.KeyName).filter(bool),
    path=_text(grammar.PathPrefix),
    methods=st.sampled_from([(), ("GET", "POST")]),
    header=_text(grammar.KeyName),
    statuses=_text(grammar.StatusListOrNone),
    action=st.sampled_from(["limit", "challenge"]),
)
_CUSTOM = st.tuples(
    st.sampled_from(["allow", "block", "challenge", "limit", "log"]),
    st.sampled_from(
        [
            'path matches "^/[a-z]+\\d{2,4}$" or body contains "a b"', 'ip in_cidr {"192.0.2.0/24", "2001:db8::/32"}',
            'header["x-a"] eq "\'%20;|\\"#" and not cookie["b"] ne "ü"', 'country in {"DE"} or asn ne "AS64500"', 'query contains "a\\\\b,c@d"',
        ]
    ),
    st.sampled_from([0, 4102444800]),
)  # fmt: skip
_POLICIES = st.builds(
    Policy,
    groups=st.dictionaries(st.sampled_from(["sqli", "xss"]), st.sampled_from(["off", "detect", "block"])),
    custom=st.lists(_CUSTOM, max_size=3).map(
        lambda rules: tuple(
            CustomRule(
                id=ident(900 + n),
                action=action,  # type: ignore[arg-type]
                expression=text,
                expires=expires,
                requests=7 if action == "limit" else 0,
            )
            for n, (action, text, expires) in enumerate(rules)
        )
    ),
    mode=st.sampled_from(["off", "detect", "block"]),
    level=st.sampled_from(["low", "medium", "high"]),
)
# Longer than one part of the map.
_LONG_SCRIPT = "local t = {" + '"' + "x" * 7000 + '"}'
_SCRIPTS = st.builds(
    Script,
    mode=st.sampled_from(["off", "on"]),
    fails=st.sampled_from(["open", "closed"]),
    source=st.sampled_from(["", "ngx.exit(403)", "ngx.req.read_body()", _LONG_SCRIPT])
    | _HTML.map(lambda text: f"local a = [=====[{text.replace(']', ' ')}]=====]"),
)
_GUARDS = st.builds(
    Guard,
    rates=st.lists(_RATES, max_size=4, unique_by=lambda rule: rule.id).map(tuple),
    bot_check=st.builds(
        BotCheck,
        mode=st.sampled_from(["off", "suspicious", "always"]),
        under_attack=st.booleans(),
        escalation=st.sampled_from(["off", "auto"]),
        exempt_paths=st.lists(_text(grammar.ExemptPath), max_size=3).map(tuple),
        token_headers=st.lists(_text(grammar.HeaderName), max_size=2).map(tuple),
    ),
)

_ENTRY = st.one_of(
    _NETWORKS.filter(bool).map(lambda found: found[0]), _text(grammar.Entry).filter(lambda e: "/" not in e)
)
_ENTRIES = st.tuples(st.lists(_ENTRY, max_size=4, unique=True), st.lists(_ENTRY, max_size=4, unique=True))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    names = draw(st.lists(_SERVED, min_size=1, max_size=5, unique=True))
    domains = []
    for number, name in enumerate(names):
        origins = tuple(
            Origin(
                id=ident(number * 10 + index),
                address=draw(_ADDRESSES),
                port=draw(st.integers(1, 65535)),
                weight=draw(st.integers(0, 256)),
                backup=draw(st.booleans()),
                tls=draw(st.sampled_from(["off", "on", "verify"])),
                enabled=draw(st.booleans()),
            )
            for index in range(draw(st.integers(0, 3)))
        )
        domains.append(
            Domain(
                id=ident(number),
                hostname=name,
                origins=origins,
                policy=draw(_POLICIES),
                guard=draw(_GUARDS),
                script=draw(_SCRIPTS),
                traffic=draw(_TRAFFIC),
            )
        )
    made = snapshot(*domains, deny={number: draw(_NETWORKS) for number in range(len(names))})
    own, everybody = ident(0), draw(_ENTRIES)
    lists = [part for part in made.lists if part.scope != own]
    lists += [*listings("*", everybody[0], everybody[1]), *listings(own, *draw(_ENTRIES))]
    return msgspec.structs.replace(made, lists=tuple(sorted(lists, key=lambda part: (part.scope, part.bucket))))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    root = tmp_path_factory.mktemp("render")
    make_default_certificate(root / "default.pem")
    (root / "state").write_text("1\n")
    (root / "challenges.map").touch()
    (root / "alive.map").touch()
    (root / "crawlers.map").touch()
    (root / "list").write_text(f"{root / 'default.pem'}\n")
    (root / "waf.lua").write_text(lua_bundle())
    (root / "countries.map").write_text("192.0.2.0/24 country:DE\n")
    (root / "systems.map").write_text("192.0.2.0/24 AS64500\n")
    return Options(
        http=("127.0.0.1:80", "[::1]:80"), https=("127.0.0.1:443",), run_dir=str(root),
        certificates_list=str(root / "list"), challenges_map=str(root / "challenges.map"),
        alive_map=str(root / "alive.map"), server_state=str(root / "state"), engine=str(root / "waf.lua"),
        quic=installed_build().quic, countries=str(root / "countries.map"), systems=str(root / "systems.map"),
    )  # fmt: skip


def check(artefact: Artefact, folder: Path) -> str:
    """Return HAProxy's objections, deprecated directives too."""
    files = {"haproxy.cfg": artefact.cfg.encode(), **artefact.files}
    files |= {f"maps/{name}.map": map_text(entries) for name, entries in artefact.maps.items()}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = subprocess.run(["haproxy", "-c", "-f", folder / "haproxy.cfg"], capture_output=True, text=True)
    output = done.stdout + done.stderr
    warnings = [
        line for line in output.splitlines() if line.startswith("[WARNING]") and "could not resolve" not in line
    ]
    return output if done.returncode or warnings else ""


@pytest.mark.integration
@settings(max_examples=40)
@given(snapshots())
def test_haproxy_accepts_every_snapshot(options: Options, tmp_path: Path, given_snapshot: Snapshot) -> None:
    assert check(render(given_snapshot, options, Identity()), tmp_path) == ""


@given(snapshots())
def test_equal_snapshots_give_equal_bytes_and_survive_the_wire(given_snapshot: Snapshot) -> None:
    options = Options(
        http=("1.2.3.4:80",),
        https=(),
        run_dir="/r",
        certificates_list="/c",
        challenges_map="/m",
        alive_map="/a",
        server_state="/s",
        engine="/e",
    )
    copy = Snapshot.decode(given_snapshot.encode())
    assert copy == given_snapshot
    assert render(copy, options, Identity()) == render(given_snapshot, options, Identity())


@pytest.mark.parametrize(
    "hostname",
    [
        "a\nuse_backend x",
        "a.example\n",
        "a b.example",
        'a".example',
        "a.example#",
        "*.",
        "*.*.example",
        "a.*.example",
        "..",
        "A.example",
    ],
)
def test_schema_refuses_what_could_be_a_directive(hostname: str) -> None:
    data = snapshot(domain(hostname="x.example")).encode()
    bad = msgspec.json.decode(data)
    bad["domains"][0]["hostname"] = hostname
    with pytest.raises(SchemaError):
        Snapshot.decode(msgspec.json.encode(bad))


def test_duplicate_hostnames_are_refused() -> None:
    with pytest.raises(SchemaError, match="same hostname"):
        snapshot(domain(1, hostname="a.example"), domain(2, hostname="a.example"))
