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
