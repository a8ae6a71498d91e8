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


def _behind(words: str) -> str:
    """Return an assertion that one of the words stands before this place."""
    return f"(?:{'|'.join(f'(?<={re.escape(word)})' for word in words.split())})"


_WORDS = _any_of(
    "or and not xor div like rlike between in is union select order group having limit where from into procedure asc"
    " desc sounds regexp exec waitfor collate as when sleep true"
)
# What stands behind a blank in a sentence of code: an option, a path, a word.
_CODE = rf"(?:-|/|%2f|(?:{_WORDS})(?:\+|%|$|[-=& ]))"
_WORDS_ALONE = "sysobjects syscolumns msys[a-z] passwd nslookup classloader constructor loopback localhost"
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
_GADGETS = ("transformer", "closure", "factory", "runtime", "processbuilder")
_HIDDEN = " ".join(sorted(core for name in _GADGETS for core in _in_base64(name) | _in_base64(name.title())))
_JAVA = rf"java\. javax\. org\.apache\. com\.(?:opensymphony|sun|bea) scriptengine ro0ab {' '.join(_GADGETS)}"
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
_SESSIONS = _any_of(
    r"phpsessid jsessionid jservsession jwsession aspsessionid asp\.net_sessionid aspxauth connect\.sid rack\.session"
    r" koa\.sess _rails_session laravel_session ci_session cakephp play_session zend_session_id sails\.sid symfony"
    r" django_session weblogicsession session-id"
)
# Lines whose form has characters that are suspicious elsewhere.
_KNOWN_LINES = _any_of("host accept accept-[a-z]+ sec-[a-z-]+ content-type if-none-match connection te")
_CHARACTERS = r"\x27();<>\\|*$`^"
# Decoded lazily by servers or browsers: control characters, overlong UTF-8, double encoding, %u. And code, encoded.
_ENCODED = r"0|1[0-9a-f]|25|c[01]|e0%80|f[08c]%80|bg|u[0-9a-f]|2[246789abe]|3[bce]|3a%2f|5[ce]|60|7[bcd]"
_PERCENT = rf"%(?:{_ENCODED}|(?:20|a0){_CODE})"
_TARGET = (
    "|".join(
        (
            rf"[\x22{{}}\x80-\xff{_CHARACTERS}]",
            _PERCENT,
            rf"[+ ]{_CODE}",
            rf"=(?:/|%2f|\.|www\.|ht|ft|alias|[a-z0-9+/_-]{{40}}|{_CODE})",
            rf"\.(?:\.|(?:{_LEFTOVERS})(?:$|[?&/~]))",
            r"/\.(?!well-known/)",
            r":/|--|0x2e|\?\?",
            rf"[?&](?:{_SESSIONS})=",
        )
    ),
    _any_of(f"{_CATALOGUES} {_NAMES} {_ADDRESSES} {_PROBES} {_JAVA}"),
)
_LINE = (
    r"(?:cookie:[^\r\n\x22*()]*+[\x22*()]|user-agent:[^\r\n\x22*]*+[\x22*]|range:(?:[^,\r\n]*+,){5}|x-[a-z-]*file"
    rf"|(?!(?:{_KNOWN_LINES}|cookie|user-agent|range):)[^\r\n\x22()*;]*+[\x22()*;])"
)
# Characters that are suspicious in a header only before this.
_BEFORE = {
    "%": r"0|1[0-9a-f]|2[4789]|3[ce]|5[ce]|60|c[01]|u[0-9a-f]|7b(?:%7b|%25)|3a[0-9]+%3a"
    r"|22(?:\+|-|%(?:20|29|3b|7c|26))"
    rf"|20(?:{_WORDS})(?:%20|\+)",
    r"\+": rf"(?:{_WORDS})(?:%20|\+)",
    r"\.": rf"\.[/\\%;]|(?:{_PACKAGES})\b",
    ":": r"[0-9]+:[\x22{]",
    "/": "(?:etc|proc|bin)/",
}
_HEADERS = (
    "|".join((r"[\x27<>\\`{}$|^\x00-\x08\x80-\xff]", *(f"{character}(?:{bad})" for character, bad in _BEFORE.items()))),
    rf"\n{_LINE}",
    rf"\A{_LINE}",
    "ro0ab",
)
_AGENT = (rf"(?<![a-z])(?:{_AGENTS})",)
# In long texts words are found by their rarest character, or each by itself: PCRE then looks for it in many places at
# once.
_BODY_WORDS = (
    r"_(?:_[a-z]|schema|tables|(?<=pg_)[a-z]|(?<=sqlite_))",
    rf"{_behind('script expect phar file data php')}(?=:|%3a)[:%]",
    r"/(?:bin/|" + _behind("etc/ proc/ -inf/") + ")",
    *f"{_WORDS_ALONE} scriptengine ro0ab {' '.join(_GADGETS)} {_HIDDEN}".split(),
)
_BODY_DOT = (
    rf"\.(?:\.|0(?<=127\.0)|254(?<=169\.254)|ini(?:{_behind('win.ini boot.ini')})|exe|{_behind('mysql. java. javax.')}"
    rf"|(?:{_PACKAGES})\b)"
)
_FORM = (
    "|".join(
        (
            rf"[\x22{{}}\x00-\x08\x80-\xff{_CHARACTERS}]",
            _PERCENT,
            rf"[+ ]{_CODE}",
            rf"=(?:/|%2f|alias|{_CODE})",
            _BODY_DOT,
            r":/|--|\?\?",
            rf"(?:&|\A)(?:{_SESSIONS})=",
        )
    ),
    *_BODY_WORDS,
)
_JSON = (
    "|".join(
        (
            rf"[\x00-\x08&={_CHARACTERS}]",
            "%[0-9a-f]",
            rf"[+ ]{_CODE}",
            rf"\x22{_CODE}",
            _BODY_DOT,
            r":/|--|\?\?|{{|#{",
        )
    ),
    *_BODY_WORDS,
)


def _value(special: str = "") -> str:
    """Return an expression for a value in which nothing is suspicious; it may have the `special` characters."""
    harmless = "|".join(f"{character}(?!{bad})" for character, bad in _BEFORE.items())
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
# The headers of an ordinary browser: what matches has nothing that `SUSPICIOUS` looks for in headers and agents, and
# says nothing about who forwarded it. This is a third of the work of looking for all that.
ORDINARY_HEADERS = rf"\A(?:(?:{_LINES})\r\n)*+\r\n\z"
# Behind which characters of a target something may begin that `SUSPICIOUS` looks for there, and that nothing does.
# Stricter is allowed: what does not match is looked at by `SUSPICIOUS`. This is an eighth of the work.
_HARMLESS = {
    "/": r"(?!bin/|\.)(?<!etc/)(?<!proc/)",
    "c": r"(?!lassl|alhost|riptengine)(?<!selec)",
    "u": r"(?!nion|ctor|ator|ntime)(?<!closu)(?<!processbu)(?<!server-statu)",
    "=": rf"(?!/|\.|www\.|ht|ft|alias|[a-z0-9/_-]{{40}}|{_CODE})",
    "-": "(?!-|inf/)",
    r"\.": r"(?=(?:html?|css|m?js|json|png|jpe?g|gif|svg|webp|avif|ico|woff2?|txt|xml|pdf|mp4|php)(?:\?|\z))"
    r"(?<!java\.)(?<!javax\.)(?<!mysql\.)",
    r"\?": rf"(?!\?|(?:{_SESSIONS})=)",
    "&": rf"(?!(?:{_SESSIONS})=)",
    "_": "(?!_|schema|tables|rsa)(?<!pg_)(?<!sqlite_)",
    "b": "(?<!ro0ab)",
    "f": "(?<!transf)(?<!phpinf)",
    "y": "(?!sobj|scol|admin)(?<!msy)(?<!factory)",
    "w": "(?!d|p-config)",
    "k": "(?!up)(?<!loopback)",
    "j": "(?!ndi)",
    "x": "(?!2e)",
}
ORDINARY_TARGET = (
    rf"\A(?=/)(?:[adeg-il-tvz0-9,@!]++|{'|'.join(character + rest for character, rest in _HARMLESS.items())})*+\z"
)
# Expressions for each place, any of which is enough.
SUSPICIOUS = {"target": _TARGET, "headers": _HEADERS, "agent": _AGENT, "form": _FORM, "json": _JSON}
