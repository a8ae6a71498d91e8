"""Which hostnames the rules of a frontend send to which backend: ACLs, `use_backend`, map files."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lumos_agent.grammar import SERVED_PATTERN
from lumos_agent.haproxy_config import Section

ReadFile = Callable[[str], str | None]

_FETCH = re.compile(
    r"\A(?:(?:req\.)?hdr(?P<how>_[a-z]+)?\(host(?:,-?1)?\)|(?:ssl_fc_sni|req\.ssl_sni|req_ssl_sni)(?P<sni>_[a-z]+)?)"
    r"(?P<rest>(?:,(?:lower|host_only|field\(1,:\)))*)\Z",
    re.IGNORECASE,
)
_MAP = re.compile(
    r"\A%\[(?P<fetch>.+?),map(?P<how>_str|_dom|_end|_beg|_reg|_sub|_dir)?(?:_str)?\((?P<file>[^,()]+)(?:,(?P<default>[^()]*))?\)\]\Z"
)
_SERVED = re.compile(SERVED_PATTERN)
_ALWAYS = {"TRUE", "HTTP", "ssl_fc"}
_FLAGS_WITH_VALUE = {"-m", "-f", "-u"}


class NotTaken(Exception):
    """A rule cannot be taken over; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Requests for a hostname (in SERVED form, or `*`) go to a backend."""

    hostname: str
    backend: str
    line: int


def rules_of(section: Section, read: ReadFile, refuse: Callable[[int, str, str], None]) -> Iterator[Rule]:
    """Return the rules of a frontend in their order; `refuse(line, what, why)` hears of what is left out."""
    acls: dict[str, list[tuple[str, ...]]] = {}
    for line in section.all("acl"):
        acls.setdefault(line.words[1] if len(line.words) > 1 else "", []).append(line.words[2:])
    for line in section.all("use_backend"):
        shown = " ".join(line.words)
        try:
            for hostname, backend in _targets(line.words[1:], acls, read):
                if _SERVED.match(hostname):
                    yield Rule(hostname=hostname, backend=backend, line=line.number)
                else:
                    refuse(line.number, shown, f"“{hostname[:80]}” is no full hostname")
        except NotTaken as reason:
            refuse(line.number, shown, str(reason))
    if (default := section.last("default_backend")) and default[0]:
        number = next((line.number for line in section.all("default_backend")), section.number)
        yield Rule(hostname="*", backend=default[0], line=number)


def _targets(words: Sequence[str], acls: dict[str, list[tuple[str, ...]]], read: ReadFile) -> Iterator[tuple[str, str]]:
    """Return (hostname, backend) of one `use_backend`."""
    if not words:
        raise NotTaken("it names no backend")
    if words[0].startswith("%["):
        if len(words) > 1:
            raise NotTaken("a map under a condition is not taken over")
        yield from _mapped(words[0], read)
    elif len(words) == 1:
        yield "*", words[0]
    elif words[1] != "if":
        raise NotTaken("`unless` says for which hostnames it does not hold; add the domains by hand")
    else:
        for hostname in _hostnames(words[2:], acls, read):
            yield hostname, words[0]


def _mapped(expression: str, read: ReadFile) -> Iterator[tuple[str, str]]:
    match = _MAP.match(expression)
    if match is None or not _FETCH.match(match["fetch"]):
        raise NotTaken("only maps of the Host header are taken over")
    content = read(match["file"])
    if content is None:
        raise NotTaken(f"the map file {match['file']} cannot be read here")
    for line in content.splitlines():
        words = line.split()
        if len(words) >= 2 and not words[0].startswith("#"):
            for hostname in _names(match["how"] or "_str", words[0]):
                yield hostname, words[1]
    if match["default"]:
        yield "*", match["default"]


def _hostnames(words: Sequence[str], acls: dict[str, list[tuple[str, ...]]], read: ReadFile) -> list[str]:
    """Return the hostnames of a condition: alternatives of which each is about the host alone."""
    found: list[str] = []
    for terms in _alternatives(words):
        hosts: list[str] | None = None
        for term in terms:
            criteria = [term] if len(term) > 1 else acls.get(term[0], [term])
            if all(criterion and criterion[0] in _ALWAYS for criterion in criteria):
                continue
            if hosts is not None:
                raise NotTaken("it joins two conditions on hosts")
            hosts = [name for criterion in criteria for name in _names_of(criterion, read)]
        if hosts is None:
            raise NotTaken("its condition names no hostname")
        found += hosts
    return found


def _alternatives(words: Sequence[str]) -> list[list[tuple[str, ...]]]:
    """Split at `or`; a term is the name of an ACL or the words between braces."""
    result: list[list[tuple[str, ...]]] = [[]]
    inside: list[str] | None = None
    for word in words:
        if inside is not None and word == "}":
            result[-1].append((*inside, ""))
            inside = None
        elif inside is not None:
            inside.append(word)
        elif word in ("||", "or"):
            result.append([])
        elif word.startswith("!"):
            raise NotTaken("a condition that is negated is not taken over")
        elif word == "{":
            inside = []
        else:
            result[-1].append((word,))
    if inside is not None:
        raise NotTaken("a brace is not closed")
    return result


def _names_of(criterion: Sequence[str], read: ReadFile) -> list[str]:
    """Return the hostnames that a criterion such as `hdr(host) -i a.example` matches."""
    match = _FETCH.match(criterion[0]) if criterion else None
    if match is None:
        shown = criterion[0][:40] if criterion else ""
        raise NotTaken(f"“{shown}” is no condition on the Host header; routes by path can be set on the domain")
    how, values, words = match["how"] or match["sni"] or "_str", [], [word for word in criterion[1:] if word]
    while words:
        word = words.pop(0)
        if word in _FLAGS_WITH_VALUE and words:
            value = words.pop(0)
            if word == "-m":
                how = f"_{value}"
            elif word == "-f":
                values += _values_in(value, read)
        elif not word.startswith("-"):
            values.append(word)
    return [name for value in values for name in _names(how, value)]


def _values_in(path: str, read: ReadFile) -> list[str]:
    content = read(path)
    if content is None:
        raise NotTaken(f"the file {path} cannot be read here")
    return [line.strip() for line in content.splitlines() if line.strip() and not line.startswith("#")]


def _names(how: str, value: str) -> list[str]:
    """Return what stands for a value: itself, or for an ending also the names below it."""
    name = re.sub(r":\d+\Z", "", value.lower()).removesuffix(".")
    if how == "_str":
        return [name]
    if how in ("_end", "_dom"):
        return [f"*{name}"] if name.startswith(".") and how == "_end" else [name.strip("."), f"*.{name.strip('.')}"]
    raise NotTaken(f"“{value[:40]}” is compared by {how[1:]}; only whole names and endings are taken over")
