"""The native check's expressions: none takes long on a hostile text. Python's `re` backtracks as PCRE does."""

import re
import time

import pytest

from lumos_agent.render.precheck import SUSPICIOUS

_BYTES = 64 * 1024
_SECONDS = 2.0
_PIECES = (
    "a", "A1", " ", "+", "%20", "=", "%2", "%7b", ".", "/", "-", ":", ",", "\r\n", "x-a:", "range:,", "cookie:a\r\n", "user-agent:",
    "user-agent:s\r\n", "selec", "unio ", "java", "o:", "\x22", "=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ", "com.su", "x-file", "_",
)  # fmt: skip
_EXPRESSIONS = sorted({expression for place in SUSPICIOUS.values() for expression in place})


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
    assert not [one for one in SUSPICIOUS["headers"] if re.search(one, text, re.IGNORECASE)]
