"""Existing configurations of HAProxy: what is taken over, and what is said about the rest."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domains import config_document
from lumos_agent import haproxy_report
from lumos_agent.cli import main
from lumos_agent.config import State
from lumos_agent.document import ConfigDomain
from lumos_agent.errors import AgentError
from lumos_agent.haproxy_config import CONFIG_BYTES_MAX, text_of, words_of
from lumos_agent.haproxy_import import Imported, imported

DEFAULTS = "defaults\n  mode http\n  timeout client 30s\n"

DEBIAN = """# /etc/haproxy/haproxy.cfg
global
    log /dev/log local0
    chroot /var/lib/haproxy
    ssl-default-bind-ciphers "ECDHE+AESGCM:!aNULL"

defaults
    log     global
    mode    http
    option  httplog
    errorfile 400 /etc/haproxy/errors/400.http

frontend www
    bind *:80
    bind :::443 v4v6 ssl crt /etc/ssl/site.pem alpn h2,http/1.1
    http-request redirect scheme https unless { ssl_fc }
    acl shop hdr(host) -i shop.example www.shop.example
    acl shop req.hdr(host),lower -m str alt.shop.example:8443
    acl blog hdr_end(host) -i .blog.example
    acl api path_beg /api
    use_backend bk_api if shop api
    use_backend bk_shop if shop
    use_backend bk_blog if blog || { hdr(host) -i blog.example }
    default_backend bk_rest

backend bk_shop
    balance leastconn
    server s1 10.0.0.1:8080 check weight 50 cookie backup
    server s2 10.0.0.2:8080 check inter 2s
    server spare 10.0.0.3:8080 check backup
backend bk_blog
    server b origin.blog.example:443 ssl verify none sni req.hdr(host)
backend bk_api
    server a 10.0.0.9:80
backend bk_rest
    server r [2001:db8::7]:80 send-proxy-v2 disabled
"""

MAPS = (
    DEFAULTS
    + """
frontend all
    bind :80
    use_backend %[req.hdr(host),lower,map_dom(/etc/haproxy/hosts.map,bk_default)]
    use_backend %[path,map_beg(/etc/haproxy/paths.map)]
    use_backend %[req.hdr(host),lower,map(missing.map)]
    acl listed hdr(host) -f hosts.lst
    use_backend b1 if listed
backend b1
    server x 192.0.2.1:80
backend b2
    server x 192.0.2.2:80
backend bk_default
    server x 192.0.2.3:80
"""
)

TCP = """defaults
    mode tcp
listen postgres
    bind :5432
    server db 10.0.0.5:5432
frontend sni
    bind :443
    tcp-request inspect-delay 5s
    use_backend raw if { req.ssl_sni -i a.example }
backend raw
    server x 10.0.0.1:443
defaults web
    mode http
    default-server check ssl verify required ca-file /etc/haproxy/own-ca.pem
defaults other
    mode http
listen site from web
    bind 203.0.113.7:80
    server x 10.0.0.1:8443
    server y 10.0.0.2:8080 no-ssl
frontend late from other
    use_backend site if { hdr(host) late.example } or { ssl_fc } { ssl_fc_sni_end -i later.example }
"""

ODD = (
    DEFAULTS
    + """
frontend f
    use_backend ok unless { hdr(host) a.example }
    use_backend ok if !{ hdr(host) b.example }
    use_backend ok if { hdr_reg(host) ^c[0-9]+ }
    use_backend ok if { src 10.0.0.0/8 }
    use_backend ok if { hdr(host) d.example
    use_backend ok if undefined
    use_backend ok if { hdr(host) intranet }
    use_backend gone if { hdr(host) e.example }
    use_backend socket if { hdr(host) g.example }
    use_backend ok if { hdr(host) "quoted.example" 'strong.example' esc\\aped.example }
    use_backend other if { hdr(host) quoted.example }
    use_backend if
    acl
    acl nothing
    use_backend ok if nothing
backend ok
    server a 10.0.0.1:80 weight many
    server b 10.0.0.2
    server c 10.0.0.3:+1
    server d app1:80
    server e 169.254.169.254:80
    server f
    server g localhost:8080
    server h 10.0.0.9:80
    server i 10.0.0.9:80
    server-template t 3 _http._tcp.example:80
backend other
    server x 10.0.0.1:80
backend socket
    server a unix@/run/app.sock
    server b "${BACKEND}:80"
    server c 10.0.0.1:80 backup
"""
)


def read(text: str, **files: str) -> Imported:
    return imported(text, {f"/etc/haproxy/{name}.map": content for name, content in files.items()}.get)


def origins(domain: ConfigDomain) -> list[str]:
    return [
        f"{o.address}:{o.port} {o.tls} {o.weight}{' backup' if o.backup else ''}{'' if o.enabled else ' off'}"
        for o in domain.origins or ()
    ]


def hosts(found: Imported) -> dict[str, list[str]]:
    return {domain.hostname: origins(domain) for domain in found.domains}


def whys(found: Imported) -> dict[int, str]:
    return {remark.line: remark.why for remark in found.remarks}


def test_a_usual_configuration() -> None:
    found = read(DEBIAN)
    shop = ["10.0.0.1:8080 off 50", "10.0.0.2:8080 off 100", "10.0.0.3:8080 off 100 backup"]
    blog = ["origin.blog.example:443 on 100"]
    assert hosts(found) == {
        "shop.example": shop,
        "www.shop.example": shop,
        "alt.shop.example": shop,
        "*.blog.example": blog,
        "blog.example": blog,
        "*": ["2001:db8::7:80 off 100 off"],
    }
    assert found.domains[0].traffic == {"proxy_protocol": "v2"}
    assert {d.hostname: d.traffic for d in found.domains}["shop.example"] == {"balance": "leastconn"}
    assert found.binds[0] == "*:80"
    assert [(r.line, r.what.split()[0]) for r in found.remarks] == [(16, "http-request"), (21, "use_backend")]
    assert "two conditions" in whys(found)[21] or "routes by path" in whys(found)[21]


def test_map_and_list_files() -> None:
    found = imported(
        MAPS,
        {
            "/etc/haproxy/hosts.map": "# hosts\na.example b1\n.b.example  b2 \nbroken\n",
            "hosts.lst": "l.example\n\n#x\n",
        }.get,
    )
    assert hosts(found) == {
        "a.example": ["192.0.2.1:80 off 100"],
        "*.a.example": ["192.0.2.1:80 off 100"],
        "b.example": ["192.0.2.2:80 off 100"],
        "*.b.example": ["192.0.2.2:80 off 100"],
        "l.example": ["192.0.2.1:80 off 100"],
        "*": ["192.0.2.3:80 off 100"],
    }
    assert [remark.why for remark in found.remarks] == [
        "only maps of the Host header are taken over",
        "the map file missing.map cannot be read here",
    ]


def test_tcp_is_reported_and_defaults_belong_to_their_sections() -> None:
    found = read(TCP)
    site = ["10.0.0.1:8443 verify 100", "10.0.0.2:8080 off 100"]
    assert hosts(found) == {"*": site, "late.example": site, "later.example": site, "*.later.example": site}
    assert [r.what for r in found.remarks if "mode tcp" in r.why] == ["listen postgres", "frontend sni", "backend raw"]
    assert [r.line for r in found.remarks if "public CAs" in r.why] == [19]


def test_what_is_left_out_has_its_line_and_its_reason() -> None:
    found = read(ODD)
    assert hosts(found) == {
        name: ["localhost:8080 off 100", "10.0.0.9:80 off 100"]
        for name in ("escaped.example", "quoted.example", "strong.example")
    }
    expected = {
        6: "unless", 7: "negated", 8: "compared by reg", 9: "no condition on the Host", 10: "not closed", 11: "no condition",
        12: "no full hostname", 13: "no origin", 14: "no origin", 16: "line 15", 17: "no such section", 20: "no condition",
        22: "no number", 23: "no port", 24: "no port", 25: "full hostname", 26: "no address that a shield", 27: "no address",
        30: "twice", 31: "not taken over", 35: "sockets", 36: "sockets",
    }  # fmt: skip
    found_whys = {line: " | ".join(r.why for r in found.remarks if r.line == line) for line in whys(found)}
    assert {line: hint for line, hint in expected.items() if hint not in found_whys.get(line, "")} == {}, found_whys


def test_the_first_rule_wins_across_frontends() -> None:
    rules = "\n use_backend {} if {{ hdr(host) -i a.example }}\n"
    text = (
        DEFAULTS
        + "frontend one"
        + rules.format("x")
        + "frontend two"
        + rules.format("x")
        + "frontend three"
        + rules.format("y")
    )
    found = read(text + "backend x\n server s 10.0.0.1:80\nbackend y\n server s 10.0.0.2:80\n")
    assert hosts(found) == {"a.example": ["10.0.0.1:80 off 100"]}
    assert [r.why for r in found.remarks] == ["line 5 sends a.example to x already"]


@pytest.mark.parametrize("text", [DEBIAN, MAPS, TCP, ODD])
def test_the_document_is_one_that_the_dashboard_takes(text: str) -> None:
    found = imported(text, lambda name: "a.example b1\n")
    document = config_document.parsed(msgspec.json.encode(found.document()))
    assert [d.hostname for d in document.domains or ()] == [d.hostname for d in found.domains]


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"\x7fELF\x02\x01\x01\xff\xfe", "not UTF-8"),
        (b"defaults\0\n", "NUL"),
        (b"x" * (CONFIG_BYTES_MAX + 1), "limit"),
        (b"hello world\n", "line 1: .hello. stands before any section"),
        (b"<html>", "before any section"),
        (b'global\n log "unclosed\n', "line 2: a quote"),
        (b"global\n log 'it\"s\n", "line 2: a quote"),
        (b"global\n log end\\\n", "line 2: a quote or backslash"),
        (b"global\n " + b"a " * 20_000, "line 2 has"),
        (b"global\n " + b"\"'" * 8_000 + b'"', "line 2"),
    ],
)
def test_what_is_no_configuration_is_said(data: bytes, hint: str) -> None:
    with pytest.raises(AgentError, match=hint):
        imported(text_of(data), lambda name: None)


@pytest.mark.parametrize(
    "text", ["", "\n# nothing\n", "global\n", "frontend\n bind\n use_backend\nbackend\n server\n", "frontend x from\n"]
)
def test_nothing_to_take_over_is_no_error(text: str) -> None:
    assert read(text).domains == []


def test_a_huge_but_right_configuration_takes_little_time() -> None:
    rules = "".join(f" use_backend b if {{ hdr(host) -i d{number}.example }}\n" for number in range(20_000))
    found = read(DEFAULTS + "frontend f\n" + rules + "backend b\n server s 10.0.0.1:80\n")
    assert len(found.domains) == 20_000


def test_words_are_those_of_haproxy() -> None:
    assert words_of("""a "b c"d'e f' g\\ h i#j""", 1) == ("a", "b cde f", "g h", "i")
    assert words_of('"" x "a\\"b"', 1) == ("", "x", 'a"b')


def run(capsys: pytest.CaptureFixture[str], *args: Any) -> tuple[int, str, str]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


def test_command_prints_a_table_and_writes_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, output = tmp_path / "haproxy.cfg", tmp_path / "domains.json"
    config.write_text(DEBIAN.replace("frontend www", "frontend www\n    redirect \x1b[2J"))
    code, out, _ = run(capsys, "import-haproxy", config, "--output", output)
    assert code == 0
    assert "6 domains can be taken over." in out
    assert "blog.example      ->  origin.blog.example:443 (https)" in out
    assert "[2001:db8::7]:80 (disabled)" in out
    assert "line 22: use_backend bk_api if shop api" in out
    assert "\x1b" not in out
    assert len(json.loads(output.read_bytes())["domains"]) == 6
    code, out, _ = run(capsys, "import-haproxy", config, "--json")
    assert set(json.loads(out)) == {"domains", "binds", "left_out"}


def test_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read" in run(capsys, "import-haproxy", tmp_path / "none")[2]
    assert "cannot read" in run(capsys, "import-haproxy", tmp_path)[2]
    (tmp_path / "x").write_bytes(b"\xff")
    assert run(capsys, "import-haproxy", tmp_path / "x")[0] == 1
    (tmp_path / "y").write_text(DEBIAN)
    assert "cannot write" in run(capsys, "import-haproxy", tmp_path / "y", "--output", tmp_path / "no" / "z")[2]


def test_enrolment_keeps_the_file_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def enrolled(state: State, *_: Any) -> str:
        state.create()
        return "7"

    monkeypatch.setattr("lumos_agent.cli.enroll", enrolled)
    monkeypatch.setenv("LUMOS_TOKEN", "t")
    config, state = tmp_path / "haproxy.cfg", tmp_path / "state"
    args = ("enroll", "--url", "ws://127.0.0.1/", "--state-dir", state, "--haproxy-cfg", config)
    code, _, err = run(capsys, *args)
    assert (code, state.exists()) == (1, False)
    assert "cannot read" in err
    config.write_text(DEBIAN)
    code, out, _ = run(capsys, *args)
    assert code == 0
    assert "Enrolled as server 7." in out
    assert "6 domains can be taken over." in out
    config.write_text("global\n")
    assert run(capsys, *args)[0] == 0
    kept = state / haproxy_report.KEPT_AS
    assert kept.read_text() == DEBIAN
    assert kept.stat().st_mode & 0o777 == 0o600
