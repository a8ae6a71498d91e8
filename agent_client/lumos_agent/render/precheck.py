"""What makes a request worth inspecting, as regular expressions for HAProxy (PCRE, without regard to case).

They must be cheap on ordinary requests and may not miss what a rule of the engine objects to. Characters with a meaning
in some language count raw and percent-encoded; words count where a blank or a bracket makes them part of a sentence of
code.

What is cheap: few expressions, because each costs 0.1 µs whatever it says, and in each of them branches that differ in
their first character, because that is all that is looked at where nothing begins (`_any_of` sorts branches so). PCRE
skips to where some branch may begin: one that begins with a letter or a blank stands only where texts are short.
"""

import re
from base64 import b64encode
from collections import defaultdict


def _any_of(words: str) -> str:
    """Return an alternation of words, which blanks separate, in which each first letter occurs once."""
    by_letter: defaultdict[str, list[str]] = defaultdict(list)
    for word in words.split():
        by_letter[word[0] if word[0].isalpha() else ""].append(word)
    branches = by_letter.pop("", [])
    for letter, begun in by_letter.items():
        rests = [word[1:] for word in begun]
        branches.append(f"{letter}(?:{'|'.join(rests)})" if len(rests) > 1 else begun[0])
    return "|".join(branches)


def behind(words: str) -> str:
    """Return an assertion that one of the words stands before this place."""
    return f"(?:{'|'.join(f'(?<={re.escape(word)})' for word in words.split())})"


_WORDS = _any_of(
    "or and not xor div like rlike between in is union select order group having limit where from into procedure asc"
    " desc sounds regexp exec waitfor collate as when sleep true"
)
# What stands behind a blank in a sentence of code: an option, a path, a word.
CODE = rf"(?:-|/|%2f|(?:{_WORDS})(?:\+|%|$|[-=& ]))"
SCHEMES = "script expect phar file data php"
_CATALOGUES = r"information_schema sysobjects syscolumns pg_[a-z] sqlite_ msys[a-z] all_tables user_tables mysql\."
_NAMES = (
    r"__[a-z] union select script(?::|%3a) jndi etc(?:/|%2f) proc/ passwd -inf(?:/|%2f) win\.ini boot\.ini classloader"
    r" constructor nslookup /bin/ bin%2f cmd\.exe php: phar: file: data: expect:"
)
_ADDRESSES = r"loopback 169\.254 localhost 127\.0"
_PROBES = r"actuator wp-config id_rsa web\.config server-status phpinfo phpmyadmin ~(?:$|\?)"
_LEFTOVERS = _any_of(
    "bak old orig swp sql log inc ini conf cnf env htaccess git svn pem key pfx kdbx sqlite mdb save backup tar tgz rar"
    " 7z gz"
)


def _in_base64(word: str) -> set[str]:
    """Return what a word looks like inside Base64, whatever stands around it."""
    return {b64encode(b"\0" * skip + word.encode())[skip and skip + 1 : -4].decode() for skip in range(3)}


# Ends of the names of Java classes that attacks chain together.
GADGETS = ("transformer", "closure", "factory", "runtime", "processbuilder")
HIDDEN = sorted(core for name in GADGETS for core in _in_base64(name) | _in_base64(name.title()))
# Words that are looked for in bodies as they are.
WORDS_ALONE = (
    "sysobjects", "syscolumns", "msys", "passwd", "nslookup", "classloader", "constructor", "loopback", "localhost",
    "scriptengine", "ro0ab", *GADGETS,
)  # fmt: skip
_JAVA = rf"java\. javax\. org\.apache\. com\.(?:opensymphony|sun|bea) scriptengine ro0ab {' '.join(GADGETS)}"
_PACKAGES = _any_of(
    "lang util io net nio rmi script security naming management apache commons opensymphony sun bea xalan"
    " springframework faces"
)
_AGENTS = _any_of(
    "sqlmap nikto nessus acunetix netsparker w3af havij nmap masscan zgrab nuclei wpscan dirbuster gobuster ffuf"
    " feroxbuster hydra openvas arachni jaeles burp zaproxy whatweb joomscan commix wfuzz zmeu morfeus qualys sleep"
    " waitfor benchmark"
)
# Session cookies that arrive as parameters (lua/sessions.lua).
SESSIONS = _any_of(
    r"phpsessid jsessionid jservsession jwsession aspsessionid asp\.net_sessionid aspxauth connect\.sid rack\.session"
    r" koa\.sess _rails_session laravel_session ci_session cakephp play_session zend_session_id sails\.sid symfony"
    r" django_session weblogicsession session-id"
)
# Lines whose form has characters that are suspicious elsewhere.
_KNOWN_LINES = _any_of("host accept accept-[a-z]+ sec-[a-z-]+ content-type if-none-match connection te")
_CHARACTERS = r"\x27();<>\\|*$`^"
# Decoded lazily by servers or browsers: control characters, overlong UTF-8, double encoding, %u. And code, encoded.
_ENCODED = r"0|1[0-9a-f]|25|c[01]|e0%80|f[08c]%80|bg|u[0-9a-f]|2[246789abe]|3[bce]|3a%2f|5[ce]|60|7[bcd]"
PERCENT = rf"%(?:{_ENCODED}|(?:20|a0){CODE})"
_TARGET = (
    "|".join(
        (
            rf"[\x22{{}}\x80-\xff{_CHARACTERS}]",
            PERCENT,
            rf"[+ ]{CODE}",
            rf"=(?:/|%2f|\.|www\.|ht|ft|alias|[a-z0-9+/_-]{{40}}|{CODE})",
            rf"\.(?:\.|(?:{_LEFTOVERS})(?:$|[?&/~]))",
            r"/\.(?!well-known/)",
            r":/|--|0x2e|\?\?",
            rf"[?&](?:{SESSIONS})=",
        )
    ),
    _any_of(f"{_CATALOGUES} {_NAMES} {_ADDRESSES} {_PROBES} {_JAVA}"),
)
_LINE = (
    r"(?:cookie:[^\r\n\x22*()]*+[\x22*()]|user-agent:[^\r\n\x22*]*+[\x22*]|range:(?:[^,\r\n]*+,){5}|x-[a-z-]*file"
    rf"|(?!(?:{_KNOWN_LINES}|cookie|user-agent|range):)[^\r\n\x22()*;]*+[\x22()*;])"
)
# Characters that are suspicious in a header only before this.
BEFORE = {
    "%": r"0|1[0-9a-f]|2[4789]|3[ce]|5[ce]|60|c[01]|u[0-9a-f]|7b(?:%7b|%25)|3a[0-9]+%3a"
    r"|22(?:\+|-|%(?:20|29|3b|7c|26))"
    rf"|20(?:{_WORDS})(?:%20|\+)",
    r"\+": rf"(?:{_WORDS})(?:%20|\+)",
    r"\.": rf"\.[/\\%;]|(?:{_PACKAGES})\b",
    ":": r"[0-9]+:[\x22{]",
    "/": "(?:etc|proc|bin)/",
}
_HEADERS = (
    "|".join((r"[\x27<>\\`{}$|^\x00-\x08\x80-\xff]", *(f"{character}(?:{bad})" for character, bad in BEFORE.items()))),
    rf"\n{_LINE}",
    rf"\A{_LINE}",
    "ro0ab",
)
_AGENT = (rf"(?<![a-z])(?:{_AGENTS})",)
# In long texts words are found by their rarest character, or each by itself: PCRE then looks for it in many places at
# once.
_BODY_WORDS = (
    r"_(?:_[a-z]|schema|tables|(?<=pg_)[a-z]|(?<=sqlite_))",
    rf"{behind(SCHEMES)}(?=:|%3a)[:%]",
    r"/(?:bin/|" + behind("etc/ proc/ -inf/") + ")",
    *WORDS_ALONE,
    *HIDDEN,
)
BODY_DOT = (
    rf"\.(?:\.|0(?<=127\.0)|254(?<=169\.254)|ini(?:{behind('win.ini boot.ini')})|exe(?![a-z])"
    rf"|{behind('mysql. java. javax.')}|(?:{_PACKAGES})\b)"
)
_FORM = (
    "|".join(
        (
            rf"[\x22{{}}\x00-\x08\x80-\xff{_CHARACTERS}]",
            PERCENT,
            rf"[+ ]{CODE}",
            rf"=(?:/|%2f|alias|{CODE})",
            BODY_DOT,
            r":/|--|\?\?",
            rf"(?:&|\A)(?:{SESSIONS})=",
        )
    ),
    *_BODY_WORDS,
)
_JSON = (
    "|".join(
        (
            rf"[\x00-\x08&={_CHARACTERS}]",
            "%[0-9a-f]",
            rf"[+ ]{CODE}",
            rf"\x22{CODE}",
            BODY_DOT,
            r":/|--|\?\?|{{|#{",
        )
    ),
    *_BODY_WORDS,
)
# Expressions for each place, any of which is enough.
SUSPICIOUS = {"target": _TARGET, "headers": _HEADERS, "agent": _AGENT, "form": _FORM, "json": _JSON}
