"""What most requests look like: what matches has nothing that `SUSPICIOUS` (precheck.py) looks for in its place.

Finding that out is a third of the work of looking for all of it in headers, an eighth in targets, a quarter in bodies.
Stricter is allowed: what does not match here is looked at there.

Each expression goes through its text once. A character at which something suspicious may begin or end has a branch of
its own that says what may not stand around it; everything else is taken in runs.
"""

import re
from collections import defaultdict
from string import ascii_lowercase

from lumos_agent.render.precheck import BEFORE, BODY_DOT, CODE, HIDDEN, PERCENT, SCHEMES, SESSIONS, WORDS_ALONE, behind


def _value(special: str = "") -> str:
    """Return an expression for a value in which nothing is suspicious; it may have the `special` characters."""
    harmless = "|".join(f"{character}(?!{bad})" for character, bad in BEFORE.items())
    return rf"(?:[ac-z0-9 _=@~!#,&?{special}\-]++|b(?<!ro0ab)|{harmless})*+"


_QUOTING = r"\x22()*;"
_SYSTEMS = (
    r"(?:Windows NT 10\.0; Win64; x64|Macintosh; Intel Mac OS X [0-9_.]+|X11; (?:Ubuntu; )?Linux x86_64"
    r"|Linux; Android [0-9]+; K|Android [0-9]+; Mobile|iPhone; CPU iPhone OS [0-9_]+ like Mac OS X)(?:; rv:[0-9.]+)?"
)
_BROWSERS = (
    r"(?:AppleWebKit/[0-9.]+ \(KHTML, like Gecko\)"
    r"(?: (?:Version|Chrome|CriOS|FxiOS|Mobile|Safari|Edg|EdgA|OPR|SamsungBrowser)(?:/[0-9a-f.]+)?)+"
    r"|Gecko/[0-9.]+ Firefox/[0-9.]+)"
)
# Lines as browsers send them, whole, because that is compared quickest; then by what their values may have.
_LINES = "|".join(
    (
        r"sec-ch-ua-mobile: \?[01]",
        r"sec-ch-ua-platform: \x22(?:Windows|macOS|Linux|Android|iOS|Chrome OS)\x22",
        "sec-fetch-site: (?:same-origin|none|same-site|cross-site)",
        "sec-fetch-mode: (?:navigate|cors|no-cors)",
        r"sec-fetch-user: \?1",
        "sec-fetch-dest: (?:document|empty|image|script|style|font)",
        "upgrade-insecure-requests: 1",
        r"accept: text/html,application/xhtml\+xml,application/xml;q=0\.9,(?:\*/\*;q=0\.8|image/avif,image/webp,"
        r"(?:image/png,image/svg\+xml,|image/apng,)?\*/\*;q=0\.8(?:,application/signed-exchange;v=b3;q=0\.7)?)",
        "accept-encoding: gzip, deflate(?:, br(?:, zstd)?)?",
        rf"cookie: {_value(';')}",
        rf"user-agent: Mozilla/5\.0 \({_SYSTEMS}\) {_BROWSERS}",
        rf"(?:host|accept(?:-[a-z]+)?|sec-[a-z-]+|content-type|if-none-match|connection|te): {_value(_QUOTING)}",
        "(?:referer|origin|content-length|cache-control|pragma|if-modified-since|dnt|priority|x-requested-with):"
        f" {_value()}",
    )
)
# Nor do they say who forwarded the request.
_HEADERS = rf"\A(?:(?:{_LINES})\r\n)*+\r\n\z"


# Letters by which words are recognised, the rarest first. The branches of an expression are tried in their order.
_RARE = "jkxwbyfcug"


def _around(word: str, at: int) -> str:
    """Return what stands around a character of a word, as an assertion behind that character."""
    return (rf"(?<={re.escape(word[: at + 1])})" if at else "") + re.escape(word[at + 1 :])


def _letters(words: list[str], free: str) -> list[str]:
    """Return branches for letters: runs of those that recognise no word, and others, each where it is in none of them.

    A word is recognised by its rarest letter. Runs may have the `free` characters as well.
    """
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for word in map(str.lower, words):
        at = min((n for n, letter in enumerate(word) if letter in _RARE), key=lambda n: _RARE.index(word[n]))
        parts[word[at]].append(_around(word, at))
    others = "".join(sorted({*ascii_lowercase} - {*parts}))
    return [
        f"[{others}{free}]++",
        *(f"{letter}(?!{'|'.join(parts[letter])})" for letter in reversed(_RARE) if letter in parts),
    ]


def _digits_apart_from(words: list[str]) -> str:
    """Return a branch for digits, of which the last ones behind a letter recognise words."""
    places = [
        (word, max(n for n in range(1, len(word)) if word[n].isdigit() > word[n - 1].isdigit())) for word in words
    ]
    letters = "".join(sorted({word[at - 1] for word, at in places}))
    return rf"[0-9](?:(?<![{letters}][0-9])|(?!{'|'.join(_around(*place) for place in places)}))[0-9]*+"


def _whole(*branches: str) -> str:
    """Return an expression for texts that consist of these alone."""
    return rf"(?:{'|'.join(branches)})*+\z"


_NO_SESSION = rf"(?!(?:{SESSIONS})=)"
_NAMES = ("select", "union", "jndi", "phpinfo", "phpmyadmin", "actuator", "wp-config", "server-status", "0x2e")
_TARGET = r"\A(?=/)" + _whole(
    *_letters([*_NAMES, *WORDS_ALONE], "0-9,@!"),
    r"/(?!bin/|\.)(?<!etc/)(?<!proc/)",
    rf"=(?!/|\.|www\.|ht|ft|alias|[a-z0-9/_-]{{40}}|{CODE})",
    "-(?!-|inf/)",
    r"\.(?=(?:html?|css|m?js|json|png|jpe?g|gif|svg|webp|avif|ico|woff2?|txt|xml|pdf|mp4|php)(?:\?|\z))"
    r"(?<!java\.)(?<!javax\.)(?<!mysql\.)",
    rf"\?(?!\?){_NO_SESSION}",
    f"&{_NO_SESSION}",
    "_(?!_|schema|tables|rsa)(?<!pg_)(?<!sqlite_)",
)
_BODY_WORDS = [*WORDS_ALONE, *(core for core in HIDDEN if core.isalpha())]
_BODY = (
    rf"\+(?!{CODE})",
    _digits_apart_from([core for core in HIDDEN if not core.isalpha()]),
    rf" (?!{CODE})",
    "-(?!-)",
    rf"(?!{BODY_DOT})\.",
    "_(?!_[a-z]|schema|tables)(?<!pg_)(?<!sqlite_)",
    "/(?!bin/)(?<!etc/)(?<!proc/)(?<!-inf/)",
    rf"(?!{behind(SCHEMES)}):(?!/)",
    r"\?(?!\?)",
)
_FORM = rf"\A{_NO_SESSION}" + _whole(
    *_letters(_BODY_WORDS, r",@!~#\x5b\x5d"),
    *_BODY,
    rf"=(?!/|%2f|alias|{CODE})",
    f"&{_NO_SESSION}",
    rf"(?!{behind(SCHEMES)}%3a)(?!{PERCENT})%",
)
_JSON = r"\A" + _whole(
    *_letters(_BODY_WORDS, r",@!~\x5b\x5d}\t\r\n\x80-\xff"),
    *_BODY,
    rf"\x22(?!{CODE})",
    r"\{(?!\{)",
    r"\#(?!\{)",
)
# One expression for each place.
ORDINARY = {"headers": _HEADERS, "target": _TARGET, "form": _FORM, "json": _JSON}
