"""Regular expressions of custom rules: a subset of RE2, compiled to a program whose running time is bounded.

The program is run by `lua/regex.lua` on all its states at once, so no text makes it go back (R. Cox, "Regular
Expression Matching: the Virtual Machine Approach"). Letters match in either case.

Known: literals, ``.``, ``[a-z]``, ``[^a-z]``, ``\\d \\w \\s`` and their opposites, ``^``, ``$``, ``|``, groups without
capture, ``* + ? {n} {n,} {n,m}``.
"""

from typing import NoReturn

INSTRUCTIONS_MAX = 200
_DEPTH_MAX = 20
_REPEAT_MAX = 50
_ALL = frozenset(range(256))
_DIGIT = frozenset(range(48, 58))
_WORD = _DIGIT | frozenset(range(97, 123)) | frozenset(range(65, 91)) | {95}
_BLANK = frozenset(b" \t\n\r\f\v")
_CLASSES = {
    "d": _DIGIT, "D": _ALL - _DIGIT, "w": _WORD, "W": _ALL - _WORD, "s": _BLANK, "S": _ALL - _BLANK,
}  # fmt: skip
_NAMED = {"n": 10, "r": 13, "t": 9}

Program = list[str]


class RegexError(ValueError):
    """An expression outside the subset; `at` is the offset of the mistake."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


def _one_of(found: frozenset[int]) -> str:
    """Return the instruction that takes one byte of a set, given in either case, of a text in lower case."""
    lower = sorted({byte + 32 if 65 <= byte <= 90 else byte for byte in found})
    ranges: list[list[int]] = []
    for byte in lower:
        if ranges and ranges[-1][1] == byte - 1:
            ranges[-1][1] = byte
        else:
            ranges.append([byte, byte])
    return "c" + ".".join(f"{first}-{last}" for first, last in ranges)


def _either_case(found: frozenset[int]) -> frozenset[int]:
    letters = {byte ^ 32 for byte in found if 65 <= byte <= 90 or 97 <= byte <= 122}
    return found | letters


class _Parser:
    """Builds programs with relative jumps."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _fail(self, text: str, at: int | None = None) -> NoReturn:
        raise RegexError(text, self._at if at is None else at)

    def whole(self) -> Program:
        program = self._alternatives(0)
        if self._peek():
            self._fail("there is no ( for this )")
        return program

    def _alternatives(self, depth: int) -> Program:
        if depth > _DEPTH_MAX:
            self._fail(f"groups nest at most {_DEPTH_MAX} deep")
        program = self._sequence(depth)
        while self._peek() == "|":
            self._at += 1
            other = self._sequence(depth)
            program = [f"s1:{len(program) + 2}", *program, f"j{len(other) + 1}", *other]
        return program

    def _sequence(self, depth: int) -> Program:
        program: Program = []
        while self._peek() not in ("", "|", ")"):
            start = self._at
            program += self._repeated(self._atom(depth), start)
            if len(program) > INSTRUCTIONS_MAX:
                self._fail("this is too large; use fewer and smaller repetitions", start)
        return program

    def _repeated(self, atom: Program, start: int) -> Program:
        char = self._peek()
        if char not in ("*", "+", "?", "{") or not char:
            return atom
        low, high = self._bounds()
        if self._peek() in ("*", "+", "?", "{") and self._peek():
            self._fail("a repetition of a repetition; put the inner one into a group")
        if len(atom) * max(low, high or 0, 1) > INSTRUCTIONS_MAX:
            self._fail("this is too large; use fewer and smaller repetitions", start)
        size = len(atom)
        if high is None:
            endless = [f"s1:{size + 2}", *atom, f"j-{size + 1}"]
            return atom * low + endless
        optional: Program = []
        for _ in range(high - low):
            optional = [f"s1:{size + len(optional) + 1}", *atom, *optional]
        return atom * low + optional

    def _bounds(self) -> tuple[int, int | None]:
        char, start = self._peek(), self._at
        self._at += 1
        if char != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        inside, brace, _ = self._text[self._at :].partition("}")
        low, comma, high = inside.partition(",")
        if not brace or not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
            self._fail("a repetition is {2}, {2,} or {2,5}; for the character write \\{", start)
        self._at += len(inside) + 1
        first, last = int(low[:4]), (int(high[:4]) if high else None) if comma else int(low[:4])
        if first > _REPEAT_MAX or (last or 0) > _REPEAT_MAX or (last is not None and last < first):
            self._fail(f"a repetition counts upwards and to {_REPEAT_MAX} at most", start)
        return first, last

    def _atom(self, depth: int) -> Program:
        char, start = self._peek(), self._at
        self._at += 1
        if char == "(":
            return self._group(depth, start)
        if char == "[":
            return [_one_of(self._set(start))]
        if char in "*+?{":
            self._fail("there is nothing to repeat before this", start)
        if char in "^$":
            return [char]
        if char == ".":
            return [_one_of(_ALL - {10})]
        if char == "\\":
            return [_one_of(self._escape())]
        return [_one_of(_either_case(frozenset([byte]))) for byte in char.encode()]

    def _group(self, depth: int, start: int) -> Program:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            self._fail("look-around, names and flags of groups are not known here", start)
        program = self._alternatives(depth + 1)
        if self._peek() != ")":
            self._fail("this ( has no )", start)
        self._at += 1
        return program

    def _escape(self) -> frozenset[int]:
        char = self._peek()
        self._at += 1
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _NAMED:
            return frozenset([_NAMED[char]])
        if not char or char.isalnum() or not char.isascii():
            self._fail("after \\ comes one of d w s D W S n r t or a sign; references back are not known", self._at - 2)
        return frozenset([ord(char)])

    def _set(self, start: int) -> frozenset[int]:
        negated = self._peek() == "^"
        self._at += negated
        found: frozenset[int] = frozenset()
        is_first = True
        while is_first or self._peek() != "]":
            is_first = False
            first = self._member(start)
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = self._member(start)
                if len(first) != 1 or len(last) != 1 or min(first) > min(last):
                    self._fail("a range goes from a character to a later one", start)
                first = frozenset(range(min(first), min(last) + 1))
            found |= _either_case(first)
        self._at += 1
        return _ALL - found if negated else found

    def _member(self, start: int) -> frozenset[int]:
        char = self._peek()
        self._at += 1
        if not char:
            self._fail("this [ has no ]", start)
        if char == "\\":
            return self._escape()
        if not char.isascii():
            self._fail("a set holds ASCII characters only; put others between | in a group", self._at - 1)
        return frozenset([ord(char)])


def compiled(text: str) -> str:
    """Return the program for `lua/regex.lua`: instructions between commas, jumps relative.

    ``c`` byte ranges, ``s`` two ways, ``j`` one, ``^``, ``$``, ``m``.

    Raises:
        RegexError: outside the subset, or too large.
    """
    program = _Parser(text).whole()
    if len(program) > INSTRUCTIONS_MAX:
        raise RegexError("this is too large; use fewer and smaller repetitions", 0)
    return ",".join([*program, "m"])
