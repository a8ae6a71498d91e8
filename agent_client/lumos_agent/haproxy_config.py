"""Reading an existing haproxy.cfg: lines into words as HAProxy splits them (manual, 2.2), words into sections."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lumos_agent.errors import AgentError

CONFIG_BYTES_MAX = 8 * 1024 * 1024
LINE_MAX = 16_384
SECTIONS = {
    "global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "program", "cache",
    "mailers", "http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme",
}  # fmt: skip
# White space, a comment, quoted parts and the rest with escaped characters. An unclosed quote matches none of them.
_PIECE = re.compile(
    r"""(?P<space>[ \t]+)|(?P<end>\#.*)|"(?P<weak>(?:[^"\\]|\\.)*)"|'(?P<strong>[^']*)'"""
    r"""|(?P<bare>(?:[^ \t\#"'\\]|\\.)+)"""
)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line in words."""

    number: int
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section with its lines, and those of the defaults that hold for it."""

    kind: str
    name: str
    number: int
    lines: list[Line] = field(default_factory=list)
    defaults: list[Line] = field(default_factory=list)

    def last(self, keyword: str) -> tuple[str, ...]:
        """Return the arguments of the line that decides, here or in the defaults; nothing if there is none."""
        found = [line.words[1:] for line in (*self.defaults, *self.lines) if line.words[0] == keyword]
        return found[-1] if found else ()

    def all(self, keyword: str) -> list[Line]:
        """Return the section's own lines with a keyword."""
        return [line for line in self.lines if line.words[0] == keyword]


def text_of(data: bytes) -> str:
    """Return a configuration as text.

    Raises:
        AgentError: it is too large, or no text.
    """
    if len(data) > CONFIG_BYTES_MAX:
        raise AgentError(f"the file has {len(data)} bytes, the limit is {CONFIG_BYTES_MAX}: this is no haproxy.cfg")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AgentError(f"the file is not UTF-8 text (byte {error.start}); is it a haproxy.cfg?") from error
    if "\0" in text:
        raise AgentError("the file holds NUL bytes: this is no haproxy.cfg")
    return text


def words_of(line: str, number: int) -> tuple[str, ...]:
    """Split one line.

    Raises:
        AgentError: a quote is not closed, or the line is far too long.
    """
    if len(line) > LINE_MAX:
        raise AgentError(f"line {number} has {len(line)} characters; HAProxy reads at most {LINE_MAX}")
    words: list[str] = []
    open_word = False
    at = 0
    while at < len(line):
        match = _PIECE.match(line, at)
        if match is None:
            raise AgentError(f"line {number}: a quote or backslash has no end; `haproxy -c -f FILE` shows where")
        at = match.end()
        if match["end"] is not None:
            break
        if match["space"] is not None:
            open_word = False
            continue
        piece = (
            match["strong"]
            if match["strong"] is not None
            else _ESCAPED.sub(r"\1", match["weak"] or match["bare"] or "")
        )
        if open_word:
            words[-1] += piece
        else:
            words.append(piece)
        open_word = True
    return tuple(words)


def _lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if words := words_of(line.rstrip("\r"), number):
            yield Line(number=number, words=words)


def sections_of(text: str) -> list[Section]:
    """Return the sections in order.

    Raises:
        AgentError: something stands before the first section, or a line cannot be split.
    """
    found: list[Section] = []
    defaults: dict[str, list[Line]] = {}
    newest: list[Line] = []
    for line in _lines(text):
        kind = line.words[0]
        if kind in SECTIONS:
            name = line.words[1] if len(line.words) > 1 else ""
            base = defaults.get(line.words[3], newest) if len(line.words) > 3 and line.words[2] == "from" else newest
            section = Section(kind=kind, name=name, number=line.number, defaults=[] if kind == "defaults" else base)
            found.append(section)
            if kind == "defaults":
                newest = defaults[name] = section.lines
        elif found:
            found[-1].lines.append(line)
        elif not kind.startswith("."):
            raise AgentError(f"line {line.number}: “{kind[:40]}” stands before any section: this is no haproxy.cfg")
    return found
