"""Words of Lua 5.3 (reference manual, 3.1), each in a canonical spelling.

Strings come out in double quotes and ASCII, comments not at all, so that whatever reads the words again cannot see
other ones than these.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, NoReturn

KEYWORDS = frozenset(
    {
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
        "not", "or", "repeat", "return", "then", "true", "until", "while",
    }
)  # fmt: skip
Kind = Literal["name", "keyword", "number", "string", "sign", "end"]

_BLANKS = re.compile(r"[ \t\r\f\v\n]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(
    r"0[xX](?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)(?:[pP][+-]?[0-9]+)?"
    r"|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
)
_SIGN = re.compile(r"\.\.\.|\.\.|==|~=|<=|>=|<<|>>|//|::|[-+*/%^#&~|<>=(){}\[\];:,.]")
_LONG = re.compile(r"\[(=*)\[")
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34, "'": 39}
_PLAIN = frozenset(range(32, 127)) - {34, 92}


class ScriptError(ValueError):
    """A script that cannot be used; `line` counts from 1."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


class Word(NamedTuple):
    """One word; `text` is what is written out, `line` where it began."""

    kind: Kind
    text: str
    line: int


def quoted(data: bytes) -> str:
    """Return a string literal."""
    return '"' + "".join([chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in data]) + '"'


class Lexer:
    """Splits a script."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def _fail(self, text: str, line: int | None = None) -> NoReturn:
        raise ScriptError(text, line or self._line)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        self._line += found[0].count("\n")
        return found[0]

    def words(self) -> Iterator[Word]:
        """Yield all words, the last one of kind "end".

        Raises:
            ScriptError: something is no word of Lua.
        """
        while True:
            self._skip()
            line = self._line
            if self._at >= len(self._text):
                yield Word("end", "the end of the script", line)
                return
            if name := self._match(_NAME):
                yield Word("keyword" if name in KEYWORDS else "name", name, line)
            elif number := self._match(_NUMBER):
                if self._match(_NAME):
                    self._fail(f"a number does not go on like this: {number}…")
                yield Word("number", number, line)
            elif self._text[self._at] in "\"'":
                yield Word("string", quoted(self._short()), line)
            elif _LONG.match(self._text, self._at):
                yield Word("string", quoted(self._long().encode()), line)
            elif sign := self._match(_SIGN):
                yield Word("sign", sign, line)
            else:
                self._fail(f"unexpected character {self._text[self._at]!r}")

    def _skip(self) -> None:
        while self._match(_BLANKS) or self._text.startswith("--", self._at):
            if not self._text.startswith("--", self._at):
                continue
            self._at += 2
            if _LONG.match(self._text, self._at):
                self._long()
            else:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end

    def _long(self) -> str:
        line = self._line
        start = self._match(_LONG)
        close = start.replace("[", "]")
        end = self._text.find(close, self._at)
        if end < 0:
            self._fail(f"there is no {close} for this {start}", line)
        content = self._text[self._at : end]
        self._line += content.count("\n")
        self._at = end + len(close)
        return content.removeprefix("\n")

    def _short(self) -> bytes:
        """Return the bytes of a string in quotes."""
        quote, line = self._text[self._at], self._line
        self._at += 1
        data = bytearray()
        while True:
            char = self._text[self._at : self._at + 1]
            if char in ("", "\n"):
                self._fail("this string is not finished", line)
            self._at += 1
            if char == quote:
                return bytes(data)
            data += self._escape() if char == "\\" else char.encode()

    def _escape(self) -> bytes:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        if char == "\n":
            self._line += 1
            return b"\n"
        if char == "z":
            self._match(_BLANKS)
            return b""
        if char and char in _ESCAPES:
            return bytes([_ESCAPES[char]])
        if char == "x" and (digits := self._match(re.compile(r"[0-9A-Fa-f]{2}"))):
            return bytes([int(digits, 16)])
        if char == "u" and (digits := self._match(re.compile(r"\{[0-9A-Fa-f]{1,6}\}"))):
            return self._unicode(int(digits[1:-1], 16))
        self._at -= 1
        digits = self._match(re.compile(r"[0-9]{1,3}"))
        if not digits or int(digits) > 255:
            self._fail(f"no such escape in a string: \\{char}; for a backslash write \\\\")
        return bytes([int(digits)])

    def _unicode(self, code: int) -> bytes:
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            self._fail("there is no such character in Unicode")
        return chr(code).encode()
