"""Where the WAF looks: every place of a request, in whatever shape a body comes, however hostile."""

import json
import random
import subprocess
import zlib
from base64 import b64encode
from pathlib import Path

import pytest

from lumos_agent.render.haproxy import lua_bundle
from lumos_agent.schema import Policy
from lumos_agent.waf_try import Trial, judge

CLIMB = "../../etc/passwd"
ENCODED = "..%2F..%2Fetc%2Fpasswd"
MULTIPART = "multipart/form-data; boundary=cut"


def sent(body: bytes, kind: str, *headers: str, target: str = "/") -> Trial:
    """Judge a POST at level high."""
    lines = [f"POST {target} HTTP/1.1", "Host: a.example", *([f"Content-Type: {kind}"] if kind else []), *headers]
    return judge("\r\n".join(lines).encode() + b"\r\n\r\n" + body, Policy(level="high"))


def part(name: str, content: str, *, filename: str = "", kind: str = "") -> str:
    """Return one part of a multipart body."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return (
        f"--cut\r\nContent-Disposition: {disposition}\r\n"
        + (kind and f"Content-Type: {kind}\r\n")
        + f"\r\n{content}\r\n"
    )


DEEP = "[" * 5000 + json.dumps(CLIMB) + "]" * 5000
BODIES = {
    "form": (f"a=1&file={ENCODED}", "application/x-www-form-urlencoded", "form:file"),
    "form without a type": (f"file={ENCODED}", "", "form:file"),
    "form, name": (f"{ENCODED}=1", "application/x-www-form-urlencoded", "name:"),
    "form, one name twice": ("f=../.&f=./../x&f=y", "application/x-www-form-urlencoded", ""),
    "form after padding": ("a=" + "x" * 120_000 + f"&file={ENCODED}", "application/x-www-form-urlencoded", "form:file"),
    "value after padding": ("a=" + "x" * 120_000 + f" {CLIMB}", "application/x-www-form-urlencoded", "form:a"),
    "value in the middle of padding": ("a=" + "x" * 60_000 + f" {CLIMB} " + "y" * 60_000, "application/x-www-form-urlencoded", "form:a"),
    "parameters without end": ("a=1&" * 3000 + f"file={ENCODED}", "application/x-www-form-urlencoded", "form:"),
    "json": (json.dumps({"a": [1, {"file": CLIMB}]}), "application/json", "json:file"),
    "json, escaped": ('{"file": "\\u002e\\u002e\\/..\\/etc\\/passwd"}', "application/json", "json:file"),
    "json in json": (json.dumps({"a": json.dumps({"file": CLIMB})}), "application/json", "json:file"),
    "json, key": (json.dumps({CLIMB: 1}), "application/json", "name:"),
    "json, deep": (DEEP, "application/json", "json:"),
    "json, broken": ("{'file': '../../etc/passwd'}", "application/json", "body:"),
    "json as text": (json.dumps({"file": CLIMB}), "text/plain", "json:file"),
    "json in base64": (json.dumps({"file": b64encode(CLIMB.encode()).decode()}), "application/json", "json:file"),
    "part": (part("file", CLIMB) + "--cut--\r\n", MULTIPART, "multipart:file"),
    "part without end": (part("a", "1") + part("file", CLIMB), MULTIPART, "multipart:file"),
    "part, file name": (part("up", "x", filename="../../x.png") + "--cut--\r\n", MULTIPART, "filename:up"),
    "part, json": (part("j", json.dumps({"file": CLIMB}), kind="application/json") + "--cut--", MULTIPART, "json:file"),
    "part, control characters first": (part("file", f"\x01\x02{CLIMB}") + "--cut--", MULTIPART, "multipart:file"),
    "part without boundary": (part("file", CLIMB), "multipart/form-data", "body:"),
    "xml, text": (f"<?xml version='1.0'?><a><b>{CLIMB}</b></a>", "application/xml", "xml:"),
    "xml, attribute": (f'<a b="{CLIMB}"/>', "text/xml", "xml:"),
    "xml, section": (f"<a><![CDATA[{CLIMB}]]></a>", "application/soap+xml", "xml:"),
    "xml, document": ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a>&b;</a>', "application/xml", "document:"),
    "text": (f"please read {CLIMB}", "text/plain", "body:"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BODIES))
def test_attack_is_found_in_every_shape_of_body(name: str) -> None:
    body, kind, place = BODIES[name]
    trial = sent(body.encode(), kind)
    if place:
        assert {f"{finding.place}:{finding.name}" for finding in trial.findings} == {place}


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (("User-Agent: ../../etc/passwd",), "header:user-agent"),
        (("X-Anything: ../../etc/passwd",), "header:x-anything"),
        (("Referer: https://a.example/?f=..%2F..%2Fetc%2Fpasswd",), "header:referer"),
        (("Cookie: a=1; file=..%2F..%2Fetc%2Fpasswd",), "cookie:file"),
    ],
)
def test_attack_is_found_in_headers_and_cookies(lines: tuple[str, ...], place: str) -> None:
    trial = judge(("GET / HTTP/1.1\r\nHost: a.example\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode(), Policy())
    assert {f"{finding.place}:{finding.name}" for finding in trial.findings} == {place}


@pytest.mark.parametrize("name", ["java.lang.Runtime", "SW52b2tlclRyYW5zZm9ybWVy", "a__b__c__startswith"])
def test_names_of_plain_values_are_judged(name: str) -> None:
    for body, kind in (
        (f"{name}=test", "application/x-www-form-urlencoded"),
        (json.dumps({name: "test"}), "application/json"),
    ):
        assert {finding.place for finding in sent(body.encode(), kind).findings} == {"name"}


def test_values_that_hide_a_name_are_judged() -> None:
    hidden = b64encode(b"InvokerTransformer").decode()
    assert sent(f"a={hidden}".encode(), "application/x-www-form-urlencoded").action == "block"
    assert sent(json.dumps({"a": hidden}).encode(), "application/json").action == "block"
    assert sent(b"a=getUserNameOrEmail", "application/x-www-form-urlencoded").action == "pass"


@pytest.mark.parametrize(
    ("referer", "action"),
    [
        ("", "block"),
        ("Referer: https://other.example/\r\n", "block"),
        ("Referer: https://www.site.test/login\r\n", "pass"),
    ],
)
def test_a_link_from_elsewhere_may_not_choose_the_session(referer: str, action: str) -> None:
    request = f"GET /login?PHPSESSID=abc123 HTTP/1.1\r\nHost: site.test\r\n{referer}\r\n"
    assert judge(request.encode(), Policy(level="high")).action == action


def test_what_cannot_be_read_is_no_finding() -> None:
    packed = zlib.compress(CLIMB.encode())
    assert sent(packed, "application/json", "Content-Encoding: deflate").action == "pass"
    noise = random.Random(1).randbytes(50_000)
    for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain", "application/xml", MULTIPART):
        assert sent(b"\x1f\x8b\x08\x00" + noise, kind).action == "pass", kind


def test_utf_16_documents_are_read() -> None:
    text = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a>&b;</a>'
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert sent(text.encode(encoding), "application/xml").action == "block", encoding


_CLOCK = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local engine, policy = require("engine"), require("policy").parse("block high")
local slowest = 0
for line in io.lines(arg[2]) do
  local kind, hex = line:match("^(%S*) (%x*)$")
  local text = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  local request = {
    method = "POST", path = "/" .. text:sub(1, 2000), query = text, body = text,
    headers = { { "content-type", kind }, { "cookie", text:sub(1, 8000) }, { "x-any", text:sub(1, 8000) } },
  }
  local began = os.clock()
  engine.judge(request, policy)
  slowest = math.max(slowest, os.clock() - began)
end
print(slowest)
"""


def test_engine_raises_nothing_and_ends_soon(tmp_path: Path) -> None:
    """Each hostile text comes in five places at once, so the bound here is five values' bound, with room for a busy machine."""
    dice = random.Random(7)
    pieces = [
        b"%",
        b"%2",
        b"%25",
        b"%u",
        b"&#",
        b"&#x",
        b"\\u",
        b"\\x",
        b'"',
        b"'",
        b"{",
        b"[",
        b"<",
        b"<!",
        b"/*",
        b"../",
        b"=",
        b"&",
        b"\0",
        b"\xc0",
        b"a",
    ]
    texts = [piece * (120_000 // len(piece)) for piece in pieces]
    texts += [dice.randbytes(dice.randrange(1, 3000)) for _ in range(60)]
    texts += [b"".join(dice.choices(pieces, k=4000)) for _ in range(40)]
    texts += [
        b"&".join(b"p%d=%d" % (n, n) for n in range(10_000)),
        DEEP.encode() * 6,
        b"a=" + b64encode(dice.randbytes(90_000)),
    ]
    kinds = ["application/x-www-form-urlencoded", "application/json", "application/xml", MULTIPART, "text/plain"]
    lines = [f"{kinds[number % 5].replace(' ', '')} {text.hex()}" for number, text in enumerate(texts)]
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "clock.lua").write_text(_CLOCK)
    (tmp_path / "in").write_text("\n".join(lines) + "\n")
    argv = ["lua5.3", *(str(tmp_path / name) for name in ("clock.lua", "waf.lua", "in"))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5
