"""The native check's expressions: none takes long on a hostile text. Python's `re` backtracks as PCRE does."""

import re
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumos_agent.render.ordinary import ORDINARY
from lumos_agent.render.precheck import HIDDEN, SUSPICIOUS
from tests.agent.pcre import matches

_BYTES = 64 * 1024
_SECONDS = 2.0
_PIECES = (
    "a", "A1", " ", "+", "%20", "=", "%2", "%7b", ".", "/", "-", ":", ",", "\r\n", "x-a:", "range:,", "cookie:a\r\n", "user-agent:",
    "user-agent:s\r\n", "selec", "unio ", "java", "o:", "\x22", "=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ", "com.su", "x-file", "_",
)  # fmt: skip
_ORDINARY = {one.replace(r"\z", "$") for one in ORDINARY.values()}
_EXPRESSIONS = sorted(_ORDINARY.union(*SUSPICIOUS.values()))


@pytest.mark.parametrize("expression", _EXPRESSIONS)
def test_time_grows_with_length_alone(expression: str) -> None:
    compiled = re.compile(expression, re.IGNORECASE)
    for piece in _PIECES:
        text = (piece * _BYTES)[:_BYTES]
        began = time.process_time()
        compiled.search(text)
        assert time.process_time() - began < _SECONDS, piece


_BROWSER = {
    "host": "shop.example",
    "cookie": "session=8f14e45f; theme=dark",
    "user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0",
    "accept": "text/html,application/xml;q=0.9,*/*;q=0.8",
    "sec-ch-ua": '"Chromium";v="138", "Not=A?Brand";v="8"',
    "accept-language": "en-GB,en;q=0.9,de;q=0.8",
    "referer": "https://shop.example/list?color=blue&sort=price",
}


@pytest.mark.parametrize("first", _BROWSER)
def test_headers_of_a_browser_are_clean_in_any_order(first: str) -> None:
    names = [first, *(name for name in _BROWSER if name != first)]
    text = "".join(f"{name}: {_BROWSER[name]}\r\n" for name in names) + "\r\n"
    assert not [one for one in SUSPICIOUS["headers"] if matches(one, text)]


def is_ordinary(text: str) -> bool:
    return matches(ORDINARY["headers"], text)


def lines(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
        "Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 "
        "Edg/138.0.0.0",
    ],
)
def test_browsers_are_ordinary(agent: str) -> None:
    assert is_ordinary(lines(_BROWSER | {"user-agent": agent}))


@pytest.mark.parametrize(
    "header",
    [
        ("user-agent", "sqlmap/1.8"), ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Gecko/1.0 Firefox/1.0 sqlmap"),
        ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "a"), ("forwarded", "for=1.2.3.4"), ("x-real-ip", "1.2.3.4"),
        ("transfer-encoding", "chunked"), ("cookie", "a=\"1\""), ("cookie", "a=%27"), ("referer", "http://a/../etc"),
        ("referer", "http://a/?q=1+union+select"), ("accept", "text/html'"), ("x-upload-file", "a"), ("range", "bytes=0-1"),
        ("cookie", "a=rO0ABXNy"), ("accept-language", "\x01"), ("accept-language", "\xff"), ("cookie", "a\r\nforwarded: b"),
    ],
)  # fmt: skip
def test_others_are_not_ordinary(header: tuple[str, str]) -> None:
    assert not is_ordinary(lines(_BROWSER | dict([header])))


_VALUES = st.lists(st.sampled_from(
    ["a", "or", "union", "select", "and", "java", "lang", "etc", "proc", "passwd", "sqlmap", "nikto", "ro0ab", "0", "12", "%", "%20", "%2",
     "%27", "%3a", "%7b", "%22", "%2f", "+", ".", "..", "/", ":", ";", "*", "(", ")", "\x22", "'", " ", "=", "&", "-", "{", ",", "?1", "\r\n",
     "range:", "x-file:", "\\", "Chrome/1.0", "Safari", "\xe9", "\t"]
), max_size=8).map("".join)  # fmt: skip


@settings(max_examples=500)
@given(changed=st.dictionaries(st.sampled_from([*_BROWSER, "content-type", "origin", "connection", "te"]), _VALUES))
def test_what_is_ordinary_has_nothing_suspicious(changed: dict[str, str]) -> None:
    headers = {name: _BROWSER.get(name, "") + value for name, value in changed.items()}
    text = lines(_BROWSER | headers)
    if is_ordinary(text):
        assert not [one for one in SUSPICIOUS["headers"] if matches(one, text)], text
        agent = headers.get("user-agent", "")
        assert not [one for one in SUSPICIOUS["agent"] if matches(one, agent)], agent


@pytest.mark.parametrize(
    "target",
    [
        "/", "/index.html", "/shop/item/17?color=blue&page=3", "/products/action/secure/feedback.php?id=12", "/a/b-min.js",
        "/structure/contact?q=book", "/my_account/system-status/?utm_source=x&utm_medium=y", "/yellow/hawk/jumbo/fix?k=w",
    ],
)  # fmt: skip
def test_targets_of_ordinary_sites_are_ordinary(target: str) -> None:
    assert matches(ORDINARY["target"], target)


_WORDS = (
    "union select script jndi etc/ proc/ passwd -inf/ win.ini classloader constructor nslookup /bin/ cmd.exe php: data: loopback 169.254"
    " localhost 127.0 actuator wp-config id_rsa web.config server-status phpinfo phpmyadmin java. javax. org.apache. com.sun scriptengine"
    " ro0ab transformer closure factory runtime processbuilder information_schema sysobjects syscolumns pg_a sqlite_ msysa all_tables"
    " user_tables mysql. phpsessid jsessionid .bak .sql .env .git/ .php~ www. ht ft alias 0x2e or and -- ?? // .. /. = & ? / - _ . __a %20 %00"
    f" + : ~ \x27 html php js {'a1' * 20} a b c f u w x y 7 \xe9 \n"
).split(" ")


@settings(max_examples=2000)
@given(st.lists(st.sampled_from(_WORDS), max_size=6).map("".join))
def test_a_target_that_is_ordinary_has_nothing_suspicious(rest: str) -> None:
    if matches(ORDINARY["target"], f"/{rest}"):
        assert not [one for one in SUSPICIOUS["target"] if matches(one, f"/{rest}")], rest


@pytest.mark.parametrize("word", _WORDS)
def test_ordinary_targets_hide_no_word(word: str) -> None:
    for target in (
        f"/{word}",
        f"/a{word}",
        f"/{word}a",
        f"/x?a={word}",
        f"/x?{word}=a",
        f"/{word}/x.html",
        f"/{word}html",
    ):
        if matches(ORDINARY["target"], target):
            assert not [one for one in SUSPICIOUS["target"] if matches(one, target)], target


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("form", "name=J%C3%BCrgen+Meier&email=a%40b.example&text=Hello%2C+how+are+you%3F+Fine.&time=12%3A30"),
        ("form", "csrf=8f14e45fceea167a5a36dedd4bea2543AbCdEfGhIjKlMnOpQrStUvWxYz&next=&items[]=1&items[]=20&price=9.99"),
        ("json", '{"query": "shoes", "page": 3, "is_new": true, "at": "2026-11-22T10:00:00Z", "price": {"min": 10, "max": 99.5}}'),
        ("json", '{\n  "id": "8f14e45f-ceea-167a-5a36-dedd4bea2543",\n  "name": "J\xfcrgen",\n  "mail": ["a@b.example"]\n}\n'),
    ],
)  # fmt: skip
def test_bodies_of_ordinary_sites_are_ordinary(kind: str, body: str) -> None:
    assert matches(ORDINARY[kind], body)


_IN_BODIES = (
    *_WORDS, *HIDDEN, "script:", "expect:", "phar:", "file:", "data:", "php%3a", "&phpsessid=", ".exe", "%3a", "%2f", "%C3%BC", "%0a", "{",
    "{{", "#{", "[", "]", ",", '"', "@", ":", "\x01",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["form", "json"])
@settings(max_examples=2000)
@given(text=st.lists(st.sampled_from(_IN_BODIES), max_size=6).map("".join))
def test_a_body_that_is_ordinary_has_nothing_suspicious(kind: str, text: str) -> None:
    if matches(ORDINARY[kind], text):
        assert not [one for one in SUSPICIOUS[kind] if matches(one, text)], text


@pytest.mark.parametrize("kind", ["form", "json"])
def test_ordinary_bodies_hide_no_word(kind: str) -> None:
    for word, before, after in product(_IN_BODIES, ("", "a", "a1", "a=", "&"), ("", "a", "1", "=a", " ")):
        text = f"{before}{word}{after}"
        if matches(ORDINARY[kind], text):
            assert not [one for one in SUSPICIOUS[kind] if matches(one, text)], text
