"""Script -> the text that shields load: the same program with its own meters.

What can take long passes through a function of the runtime (``render/lua/script/limits.lua``). ``__t(n)`` stands before
every n words or so, in each function and each turn of a loop; ``__c(a, b)`` joins strings, which the interpreter would
do without asking. Nothing else is changed, and every word stays in its line, so that messages name the right one.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NoReturn

from msgspec import Struct

from lumos_agent.script.lexer import KEYWORDS, Lexer, ScriptError, Word
from lumos_agent.script.writer import JOIN, METER, Piece, Pieces, joined, meter, written

SCRIPT_BYTES_MAX = 64 * 1024
# Between two readings of the meter.
WORDS_METERED = 48
DEPTH_MAX = 50
COMPARISONS_MAX = 200
_RESERVED = {METER, JOIN, "_ENV"}
_UNARY = 12
_BINARY = {
    "or": (1, 1), "and": (2, 2), "<": (3, 3), ">": (3, 3), "<=": (3, 3), ">=": (3, 3), "~=": (3, 3), "==": (3, 3),
    "|": (4, 4), "~": (5, 5), "&": (6, 6), "<<": (7, 7), ">>": (7, 7), "..": (9, 8), "+": (10, 10), "-": (10, 10),
    "*": (11, 11), "/": (11, 11), "//": (11, 11), "%": (11, 11), "^": (14, 13),
}  # fmt: skip
_COMPARISONS = {"<", ">", "<=", ">=", "~=", "=="}
_BODY = {"get_body_data", "get_post_args", "read_body", "request_body"}
_ENDS = {"end", "else", "elseif", "until"}


class Compiled(Struct, frozen=True):
    """What a shield loads, and whether it wants the request's body."""

    text: str
    reads_body: bool


class _Parser:
    """Reads a script and writes it anew. Methods return what they have read, as pieces."""

    def __init__(self, words: Iterator[Word]) -> None:
        self._words = words
        self._next = next(words)
        self._metered = 0
        self._depth = 0
        self._comparisons = 0
        self.reads_body = False

    def _fail(self, text: str, line: int | None = None) -> NoReturn:
        raise ScriptError(text, line or self._next.line)

    def _take(self) -> Pieces:
        word = self._next
        if word.kind == "end":
            self._fail("the script ends too early")
        if word.kind == "name" and word.text in _RESERVED:
            self._fail(f"the name {word.text} is reserved; use another one")
        if word.text.strip('"') in _BODY:
            self.reads_body = True
        self._metered += 1
        self._next = next(self._words)
        return [(word.line, word.text)]

    def _sees(self, *texts: str) -> bool:
        return self._next.kind in ("keyword", "sign") and self._next.text in texts

    def _expect(self, text: str, opened: Piece | None = None) -> Pieces:
        if not self._sees(text):
            where = f" for the “{opened[1]}” of line {opened[0]}" if opened else ""
            self._fail(f"expected “{text}”{where}, found {self._next.text}")
        return self._take()

    def _name(self) -> Pieces:
        if self._next.kind != "name":
            self._fail(f"expected a name, found {self._next.text}")
        return self._take()

    def script(self) -> Pieces:
        pieces = self._metered_block()
        if self._next.kind != "end":
            self._fail(f"expected a statement, found {self._next.text}")
        return pieces

    def _metered_block(self, before: int = 0) -> Pieces:
        """Return a block that begins with a meter: of a function, or of a loop whose head has `before` words."""
        outer, self._metered = self._metered, before
        pieces = self._block(is_metered=True)
        self._metered = outer
        return pieces

    def _block(self, *, is_metered: bool = False) -> Pieces:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._fail(f"this is nested more than {DEPTH_MAX} deep")
        pieces: Pieces = []
        part: Pieces = []
        start = 0 if is_metered else self._metered
        while self._next.kind != "end" and not self._sees(*_ENDS):
            is_last = self._sees("return")
            self._comparisons = 0
            part += self._return() if is_last else self._statement()
            if self._metered - start >= WORDS_METERED:
                pieces += meter(self._metered - start) + part
                part, self._metered = [], start
            if is_last:
                break
        if is_metered and (part or not pieces):
            pieces += meter(self._metered)
        self._depth -= 1
        return pieces + part

    def _return(self) -> Pieces:
        pieces = self._take()
        if self._next.kind != "end" and not self._sees(*_ENDS, ";"):
            pieces += self._expressions()
        return pieces + (self._take() if self._sees(";") else [])

    def _statement(self) -> Pieces:
        if self._next.kind == "keyword":
            method = {
                "break": self._take, "do": self._do, "for": self._for, "function": self._function, "goto": self._goto,
                "if": self._if, "local": self._local, "repeat": self._repeat, "while": self._while,
            }.get(self._next.text)  # fmt: skip
            if method is not None:
                return method()
        if self._sees(";"):
            return self._take()
        if self._sees("::"):
            return self._take() + self._name() + self._expect("::")
        return self._call_or_assignment()

    def _goto(self) -> Pieces:
        """Every way back is metered, so a loop made of jumps is."""
        return meter(1) + self._take() + self._name()

    def _do(self) -> Pieces:
        opened = self._take()
        return opened + self._block() + self._expect("end", opened[0])

    def _while(self) -> Pieces:
        opened, before = self._take(), self._metered
        head = self._expression() + self._expect("do")
        return opened + head + self._metered_block(self._metered - before) + self._expect("end", opened[0])

    def _repeat(self) -> Pieces:
        opened = self._take()
        body = self._metered_block()
        end, before = self._expect("until", opened[0]), self._metered
        condition = self._expression()
        return opened + meter(self._metered - before) + body + end + condition

    def _if(self) -> Pieces:
        opened = self._take()
        pieces = opened + self._expression() + self._expect("then") + self._block()
        while self._sees("elseif"):
            pieces += self._take() + self._expression() + self._expect("then") + self._block()
        if self._sees("else"):
            pieces += self._take() + self._block()
        return pieces + self._expect("end", opened[0])

    def _for(self) -> Pieces:
        opened = self._take()
        pieces = opened + self._name()
        if self._sees("="):
            pieces += self._take() + self._expression() + self._expect(",") + self._expression()
            if self._sees(","):
                pieces += self._take() + self._expression()
        else:
            while self._sees(","):
                pieces += self._take() + self._name()
            pieces += self._expect("in") + self._expressions()
        return pieces + self._expect("do") + self._metered_block() + self._expect("end", opened[0])

    def _function(self) -> Pieces:
        opened = self._take()
        pieces = opened + self._name()
        while self._sees("."):
            pieces += self._take() + self._name()
        if self._sees(":"):
            pieces += self._take() + self._name()
        return pieces + self._body(opened[0])

    def _body(self, opened: Piece) -> Pieces:
        """Return parameters, block and end of a function."""
        pieces = self._expect("(")
        while not self._sees(")"):
            pieces += self._take() if self._sees("...") else self._name()
            if not self._sees(")"):
                pieces += self._expect(",")
        comparisons = self._comparisons
        pieces += self._take() + self._metered_block() + self._expect("end", opened)
        self._comparisons = comparisons
        return pieces

    def _local(self) -> Pieces:
        pieces = self._take()
        if self._sees("function"):
            opened = self._take()
            return pieces + opened + self._name() + self._body(opened[0])
        pieces += self._name()
        while self._sees(","):
            pieces += self._take() + self._name()
        return pieces + (self._take() + self._expressions() if self._sees("=") else [])

    def _call_or_assignment(self) -> Pieces:
        pieces, is_call = self._suffixed()
        if is_call:
            return pieces
        while self._sees(","):
            pieces += self._take()
            more, is_call = self._suffixed()
            pieces += more
            if is_call:
                self._fail("a call cannot be assigned to")
        return pieces + self._expect("=") + self._expressions()

    def _suffixed(self) -> tuple[Pieces, bool]:
        """Return a name or (…) with all that is attached to it, and whether that ends in a call."""
        is_call = False
        if self._sees("("):
            opened = self._take()
            pieces = opened + self._expression() + self._expect(")", opened[0])
        else:
            pieces = self._name()
        while True:
            if self._sees("."):
                pieces, is_call = pieces + self._take() + self._name(), False
            elif self._sees("["):
                pieces, is_call = pieces + self._take() + self._expression() + self._expect("]"), False
            elif self._sees(":"):
                pieces, is_call = pieces + self._take() + self._name() + self._arguments(), True
            elif self._sees("(", "{") or self._next.kind == "string":
                pieces, is_call = pieces + self._arguments(), True
            else:
                return pieces, is_call

    def _arguments(self) -> Pieces:
        if self._next.kind == "string":
            return self._take()
        if self._sees("{"):
            return self._table()
        opened = self._expect("(")
        inside = [] if self._sees(")") else self._expressions()
        return opened + inside + self._expect(")", opened[0])

    def _table(self) -> Pieces:
        pieces = opened = self._take()
        while not self._sees("}"):
            if self._sees("["):
                pieces = pieces + self._take() + self._expression() + self._expect("]") + self._expect("=")
            pieces = pieces + self._expression(is_field=True)
            if not self._sees("}"):
                pieces = pieces + (self._take() if self._sees(";") else self._expect(","))
        return pieces + self._expect("}", opened[0])

    def _expressions(self) -> Pieces:
        pieces = self._expression()
        while self._sees(","):
            pieces += self._take() + self._expression()
        return pieces

    def _expression(self, *, is_field: bool = False) -> Pieces:
        pieces = joined(self._operands(0))
        # A name alone may be the name of a field.
        if is_field and len(pieces) == 1 and self._sees("="):
            if not pieces[0][1].isidentifier() or pieces[0][1] in KEYWORDS:
                self._fail("the name of a field is a word; put anything else in brackets")
            pieces = pieces + self._take() + self._expression()
        return pieces

    def _operands(self, limit: int) -> list[Pieces]:
        """Return the operands of ``..`` that an expression consists of: one if it is another expression."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._fail(f"this is nested more than {DEPTH_MAX} deep")
        if self._sees("not", "-", "#", "~"):
            found = [self._take() + joined(self._operands(_UNARY))]
        else:
            found = [self._simple()]
        while self._next.kind in ("keyword", "sign") and (power := _BINARY.get(self._next.text)) and power[0] > limit:
            self._count_comparison()
            sign = self._take()
            right = self._operands(power[1])
            found = found + right if sign[0][1] == ".." else [joined(found) + sign + joined(right)]
        self._depth -= 1
        return found

    def _count_comparison(self) -> None:
        """Comparisons of long strings are not metered by themselves."""
        self._comparisons += self._next.text in _COMPARISONS
        if self._comparisons > COMPARISONS_MAX:
            self._fail(f"one statement has more than {COMPARISONS_MAX} comparisons; use a table or several statements")

    def _simple(self) -> Pieces:
        if self._next.kind in ("number", "string") or self._sees("nil", "true", "false", "..."):
            return self._take()
        if self._sees("{"):
            return self._table()
        if self._sees("function"):
            opened = self._take()
            return opened + self._body(opened[0])
        return self._suffixed()[0]


@lru_cache(maxsize=512)
def compiled(source: str) -> Compiled:
    """Return what shields load for a script.

    Raises:
        ScriptError: too long, or no Lua.
    """
    if len(source.encode()) > SCRIPT_BYTES_MAX:
        raise ScriptError(f"a script has at most {SCRIPT_BYTES_MAX // 1024} KB", 1)
    parser = _Parser(Lexer(source.replace("\r\n", "\n")).words())
    return Compiled(written(parser.script()), parser.reads_body)
