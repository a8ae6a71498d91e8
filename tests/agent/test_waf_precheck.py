"""The native check's expressions: none takes long on a hostile text. Python's `re` backtracks as PCRE does."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumos_agent.render.precheck import ORDINARY_HEADERS, ORDINARY_TARGET, SUSPICIOUS
from tests.agent.pcre import matches

_BYTES = 64 * 1024
_SECONDS = 2.0
_PIECES = (
    "a", "A1", " ", "+", "%20", "=", "%2", "%7b", ".", "/", "-", ":", ",", "\r\n", "x-a:", "range:,", "cookie:a\r\n", "user-agent:",
    "user-agent:s\r\n", "selec", "unio ", "java", "o:", "\x22", "=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ", "com.su", "x-file", "_",
)  # fmt: skip
_ORDINARY = {one.replace(r"\z", "$") for one in (ORDINARY_HEADERS, ORDINARY_TARGET)}
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
    return matches(ORDINARY_HEADERS, text)


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
    assert matches(ORDINARY_TARGET, target)


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
    if matches(ORDINARY_TARGET, f"/{rest}"):
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
        if matches(ORDINARY_TARGET, target):
            assert not [one for one in SUSPICIOUS["target"] if matches(one, target)], target
