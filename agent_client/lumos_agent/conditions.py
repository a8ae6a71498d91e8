"""Conditions of custom rules: what people write, its tree, and the words that `lua/conditions.lua` evaluates.

    path starts_with "/admin" and not ip in_cidr {"192.0.2.0/24", "2001:db8::/32"}

`country` is an ISO 3166-1 code, `asn` an autonomous system's number; both are empty where the shield's databases have
no entry for a client. Texts are compared without regard to case. The path is compared decoded and with dot segments
resolved, query and body decoded, so that an encoding hides nothing.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, NoReturn
from urllib.parse import quote

from lumos_agent import regex

EXPRESSION_MAX = 2_000
TESTS_MAX = 50
DEPTH_MAX = 20
VALUES_MAX = 100
VALUE_MAX = 256
# The rules of a domain are one value of a map, and fit into one command to HAProxy.
COMPILED_MAX = 3_000

TEXT_FIELDS = ("host", "path", "query", "user_agent", "body", "method")
NAMED_FIELDS = ("header", "cookie")
PLACE_FIELDS = ("country", "asn")
FIELDS = ("ip", *PLACE_FIELDS, *TEXT_FIELDS, *NAMED_FIELDS)
TEXT_OPERATORS = ("eq", "ne", "contains", "starts_with", "ends_with", "matches", "in")
ADDRESS_OPERATORS = ("eq", "ne", "in", "in_cidr")
PLACE_OPERATORS = ("eq", "ne", "in")

_TOKEN = re.compile(r'\s*(?:(?P<word>[a-z_]+)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>[()\[\]{},]))')
_NAME = re.compile(r"\A[a-z0-9!#$&'*+.^_`|~-]{1,64}\Z")
_COUNTRY = re.compile(r"\A[A-Za-z]{2}\Z")
_SYSTEM = re.compile(r"\A(?:AS)?([1-9][0-9]{0,9})\Z", re.IGNORECASE)
_SAFE = "/"


class ConditionError(ValueError):
    """A mistake in a condition; `column` counts from 1."""

    def __init__(self, text: str, column: int) -> None:
        super().__init__(f"col {column}: {text}")
        self.column = column


class Comparison(NamedTuple):
    """One comparison; `name` is that of the header or cookie, `values` are in canonical form."""

    field: str
    name: str
    operator: str
    values: tuple[str, ...]


class Joined(NamedTuple):
    """Several conditions, all or any of which must hold."""

    how: Literal["and", "or"]
    parts: tuple["Condition", ...]


class Not(NamedTuple):
    """The opposite."""

    part: "Condition"


Condition = Comparison | Joined | Not


class _Word(NamedTuple):
    kind: str  # word, text, sign or end
    text: str
    column: int


def _words(text: str) -> list[_Word]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            what = "this text has no closing quote" if text[start] == '"' else f"“{text[start]}” has no place here"
            raise ConditionError(f"{what}; texts stand in double quotes", start + 1)
        kind = match.lastgroup or ""
        found.append(_Word(kind, match[kind], match.start(kind) + 1))
        at = match.end()
    return [*found, _Word("end", "the end", len(text) + 1)]


class _Parser:
    def __init__(self, words: list[_Word]) -> None:
        self._words = words
        self._at = 0
        self._tests = 0

    @property
    def _next(self) -> _Word:
        return self._words[self._at]

    def _fail(self, text: str, word: _Word | None = None) -> NoReturn:
        raise ConditionError(text, (word or self._next).column)

    def _take(self, kind: str, what: str, *texts: str) -> _Word:
        word = self._next
        if word.kind != kind or (texts and word.text not in texts):
            self._fail(f"{what} is missing here, not {word.text}")
        self._at += 1
        return word

    def _skip(self, text: str) -> bool:
        is_there = self._next.kind != "text" and self._next.text == text
        self._at += is_there
        return is_there

    def whole(self) -> Condition:
        found = self._joined("or", 0)
        if self._next.kind != "end":
            self._fail(f"“and” or “or” is missing before {self._next.text}")
        return found

    def _joined(self, how: Literal["and", "or"], depth: int) -> Condition:
        if depth > DEPTH_MAX:
            self._fail(f"parentheses and “not” nest at most {DEPTH_MAX} deep")
        parts: list[Condition] = []
        while not parts or self._skip(how):
            parts.append(self._joined("and", depth) if how == "or" else self._unary(depth))
        return parts[0] if len(parts) == 1 else Joined(how, tuple(parts))

    def _unary(self, depth: int) -> Condition:
        if depth > DEPTH_MAX:
            self._fail(f"parentheses and “not” nest at most {DEPTH_MAX} deep")
        if self._skip("not"):
            return Not(self._unary(depth + 1))
        if self._skip("("):
            found = self._joined("or", depth + 1)
            self._take("sign", "the closing )", ")")
            return found
        return self._test()

    def _test(self) -> Comparison:
        self._tests += 1
        if self._tests > TESTS_MAX:
            self._fail(f"a rule has at most {TESTS_MAX} comparisons; make two rules of it")
        field = self._next
        if field.kind != "word" or field.text not in FIELDS:
            self._fail(f"a comparison begins with one of {', '.join(FIELDS)}, not {field.text}")
        self._at += 1
        name = self._name(field) if field.text in NAMED_FIELDS else ""
        known = _operators(field.text)
        operator = self._take("word", f"one of {', '.join(known)}", *known)
        values = self._values(is_set=operator.text in ("in", "in_cidr"))
        return Comparison(
            field.text, name, operator.text, tuple(self._value(field.text, operator.text, v) for v in values)
        )

    def _name(self, field: _Word) -> str:
        self._take("sign", f'[ with a name, as in {field.text}["x-name"],', "[")
        word = self._take("text", "a name in double quotes")
        self._take("sign", "the closing ]", "]")
        name = _plain(word.text).lower()
        if not _NAME.match(name):
            self._fail("a name has up to 64 letters, digits and hyphens", word)
        return name

    def _values(self, *, is_set: bool) -> list[_Word]:
        if not is_set or self._next.kind == "text":
            return [self._take("text", "a text in double quotes")]
        self._take("sign", "a set such as {…}", "{")
        values = [self._take("text", "a text in double quotes")]
        while not self._skip("}"):
            self._skip(",")
            values.append(self._take("text", "a text in double quotes or the closing }"))
        if len(values) > VALUES_MAX:
            self._fail(f"a set has at most {VALUES_MAX} values; longer ones belong into a list", values[VALUES_MAX])
        return values

    def _value(self, field: str, operator: str, word: _Word) -> str:
        text = _plain(word.text)
        if not text or len(text) > VALUE_MAX:
            self._fail(f"a text has 1 to {VALUE_MAX} characters", word)
        if field == "ip":
            return self._network(text, word, is_network=operator == "in_cidr")
        if field in PLACE_FIELDS:
            return self._place(field, text, word)
        if operator == "matches":
            try:
                regex.compiled(text)
            except regex.RegexError as error:
                raise ConditionError(str(error), word.column + 1 + error.at) from error
            return text
        return text.encode().lower().decode()  # ASCII letters, as the shield does it

    def _place(self, field: str, text: str, word: _Word) -> str:
        if field == "country":
            if not _COUNTRY.match(text):
                self._fail("a country is a code of two letters such as DE", word)
            return text.lower()
        match = _SYSTEM.match(text)
        if match is None or int(match[1]) >= 2**32:
            self._fail("an autonomous system is a number such as AS64500", word)
        return match[1]

    def _network(self, text: str, word: _Word, *, is_network: bool) -> str:
        try:
            if not is_network:
                return str(ipaddress.ip_network(ipaddress.ip_address(text)))
            return str(ipaddress.ip_network(text, strict=False))
        except ValueError:
            example = "a network such as 192.0.2.0/24" if is_network else "an address such as 192.0.2.1"
            self._fail(f"{example} is missing here; ranges are compared with in_cidr", word)


def _operators(field: str) -> tuple[str, ...]:
    if field == "ip":
        return ADDRESS_OPERATORS
    return PLACE_OPERATORS if field in PLACE_FIELDS else TEXT_OPERATORS


def _plain(quoted: str) -> str:
    r"""Return the text between quotes; \" and \\ stand for one character, other backslashes for themselves."""
    return re.sub(r'\\(["\\])', r"\1", quoted[1:-1])


def parsed(text: str) -> Condition:
    """Return the tree of a condition.

    Raises:
        ConditionError: with the column of the mistake.
    """
    if len(text) > EXPRESSION_MAX:
        raise ConditionError(f"a condition has at most {EXPRESSION_MAX} characters", EXPRESSION_MAX + 1)
    found = _Parser(_words(text)).whole()
    if len(compiled(found)) > COMPILED_MAX:
        raise ConditionError("this is too large for a shield; make two rules of it, or use a list for addresses", 1)
    return found


def fields_of(condition: Condition) -> set[str]:
    """Return the fields that are compared."""
    if isinstance(condition, Comparison):
        return {condition.field}
    if isinstance(condition, Not):
        return fields_of(condition.part)
    return set().union(*(fields_of(part) for part in condition.parts))


def places_read(expressions: Iterable[str]) -> frozenset[str]:
    """Return which of `PLACE_FIELDS` valid conditions compare; looks closely only at those that have the word."""
    found: set[str] = set()
    for text in expressions:
        if any(field in text and field not in found for field in PLACE_FIELDS):
            found |= fields_of(parsed(text)) & set(PLACE_FIELDS)
    return frozenset(found)


def _hex_network(text: str) -> str:
    network = ipaddress.ip_network(text)
    return f"{network.network_address.packed.hex()}/{network.prefixlen}"


def compiled(condition: Condition) -> str:
    """Return the words that the shield evaluates, operators before what they join: safe in a map and in commands."""
    if isinstance(condition, Not):
        return f"! {compiled(condition.part)}"
    if isinstance(condition, Joined):
        sign = "&" if condition.how == "and" else "|"
        return " ".join([f"{sign}{len(condition.parts)}", *map(compiled, condition.parts)])
    if condition.field == "ip":
        values = [_hex_network(value) for value in condition.values]
    elif condition.operator == "matches":
        values = [quote(regex.compiled(value), safe="") for value in condition.values]
    else:
        values = [quote(value, safe=_SAFE) for value in condition.values]
    return f"{condition.field}:{quote(condition.name, safe='')}@{condition.operator}@{','.join(values)}"
