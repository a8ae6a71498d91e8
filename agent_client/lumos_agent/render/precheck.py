"""What makes a request worth inspecting, as regular expressions for HAProxy (PCRE, without regard to case).

They must be cheap on ordinary requests and may not miss what a rule of the engine objects to. Characters with a meaning
in some language count raw and percent-encoded; words count where a blank or a bracket makes them part of a sentence of
code.
"""

from base64 import b64encode

from msgspec import Struct

# Decoded lazily by servers or browsers: control characters, overlong UTF-8, double encoding, %u.
_ENCODINGS = r"%(?:0|1[0-9a-f]|25|c[01]|e0%80|f[08c]%80|bg|u[0-9a-f])"
_ENCODED = r"%(?:2[246789ab]|3[bce]|5[ce]|60|7[bcd])"
_CLIMB = r"\.\.|%2e|0x2e|\?\?"
_BLANK = r"(?:\+|%20|%a0| )"
_CODE_WORDS = (
    "or|and|not|xor|div|like|rlike|between|in|is|union|select|order|group|having|limit|where|from|into|procedure|asc|desc"
    "|sounds|regexp|exec|waitfor|collate|as|when|sleep|true"
)
_SENTENCE = rf"(?:{_BLANK}|=|\x22)(?:{_CODE_WORDS})(?:{_BLANK}|%|$|[-=&])"
_NAMES = (
    r"__[a-z]|union|select|script(?::|%3a)|jndi|etc/|etc%2f|proc/|passwd|-inf/|-inf%2f|win\.ini|boot\.ini|classloader|constructor"
    r"|nslookup|/bin/|bin%2f|cmd\.exe|php:|phar:|file:|data:|expect:"
)
_OPTIONS = rf"{_BLANK}(?:-|/|%2f)|=alias"
_CATALOGUES = r"information_schema|sysobjects|syscolumns|pg_[a-z]|sqlite_|msys[a-z]|all_tables|user_tables|mysql\."


def _in_base64(word: str) -> set[str]:
    """Return what a word looks like inside Base64, whatever stands around it."""
    return {b64encode(b"\0" * skip + word.encode())[skip and skip + 1 : -4].decode() for skip in range(3)}


# Ends of the names of Java classes that attacks chain together.
_GADGETS = ("transformer", "closure", "factory", "runtime", "processbuilder")
_HIDDEN = sorted(core for name in _GADGETS for core in _in_base64(name) | _in_base64(name.title()))
_JAVA = "|".join((r"java\.|javax\.|org\.apache\.|com\.(?:opensymphony|sun|bea)|scriptengine", *_GADGETS, *_HIDDEN))
_ADDRESSES = r"loopback|169\.254|localhost|127\.0"
_PROBES = (
    r"/\.(?!well-known/)|actuator|wp-config|id_rsa|web\.config|server-status|phpinfo|phpmyadmin|\.(?:bak|old|orig|swp|sql|log|inc|ini|conf|cnf"
    r"|env|htaccess|git|svn|pem|key|pfx|kdbx|sqlite|mdb|save|backup|tar|tgz|rar|7z|gz)(?:$|[?&/~])|~(?:$|\?)"
)
_AGENTS = (
    r"sqlmap|nikto|nessus|acunetix|netsparker|w3af|havij|nmap|masscan|zgrab|nuclei|wpscan|dirbuster|gobuster|ffuf|feroxbuster|hydra"
    r"|openvas|arachni|jaeles|burp|zaproxy|whatweb|joomscan|commix|wfuzz|zmeu|morfeus|qualys"
)
# Lines whose form has characters that are suspicious elsewhere.
_KNOWN_LINES = "host|accept|accept-[a-z]+|sec-[a-z-]+|user-agent|cookie|content-type|if-none-match|connection|te|range"


class Suspicious(Struct, frozen=True):
    """Expressions for each place, any of which is enough.

    PCRE skips to where a match may begin: what begins with a rare character goes into one expression. What begins with
    a letter costs a try at every such letter, and stands only where texts are short.
    """

    target: tuple[str, ...]
    headers: tuple[str, ...]
    agent: tuple[str, ...]
    form: tuple[str, ...]
    json: tuple[str, ...]


_CHARACTERS = r"\x27();<>\\|*$`^"
_PACKAGES = (
    r"\.(?:lang|util|io|net|nio|rmi|script|security|naming|management|apache|commons|opensymphony|sun|bea|xalan"
    r"|springframework|faces)\b|[ =:\x22]ro0ab"
)
_TARGET = (
    "|".join(
        (rf"[\x22{{}}\x80-\xff{_CHARACTERS}]", _ENCODINGS, _ENCODED, "--", r"=/|=%2f|:/|%3a%2f|=\.|=(?:www\.|ht|ft)")
    ),
    _CLIMB, _SENTENCE, _OPTIONS, _CATALOGUES, _JAVA, _NAMES, _ADDRESSES, _PROBES, "=[a-z0-9+/_-]{40}",
)  # fmt: skip
_HEADERS = (
    "|".join(
        (
            r"[\x27<>\\`{}$|^\x00-\x08\x80-\xff]",
            r"%(?:0|1[0-9a-f]|2[4789]|3[ce]|5[ce]|60|c[01]|u[0-9a-f]|7b(?:%7b|%25)|3a[0-9]+%3a)",
            rf"%22(?:{_BLANK}|%29|%3b|%7c|%26|-)",
            r"\.\.[/\\%;]",
            r":[0-9]+:[\x22{]",
            rf"(?:%20|\+)(?:{_CODE_WORDS})(?:%20|\+)",
            r"/(?:etc|proc|bin)/",
            _PACKAGES,
        )
    ),
    rf"(?m)^(?:(?!(?:{_KNOWN_LINES}):)[^:\r\n]*:[^\r\n]*[\x22()*;]|(?:cookie|user-agent):[^\r\n]*[\x22*]|cookie:[^\r\n]*[()]"
    r"|range:(?:[^,\r\n]*,){5}|x-[a-z-]*file)",
)
_AGENT = (rf"{_AGENTS}|sleep|waitfor|benchmark",)
_FORM = (
    "|".join(
        (
            rf"[\x22{{}}\x00-\x08\x80-\xff{_CHARACTERS}]", _ENCODINGS, _ENCODED, r"\.\.|%2e|\?\?", "--",
            "=%2f|=/|%3a%2f|:/", _PACKAGES,
        )
    ),
    _SENTENCE, _OPTIONS, _CATALOGUES, _NAMES, _ADDRESSES,
)  # fmt: skip
_JSON = (
    "|".join((rf"[\x00-\x08&{_CHARACTERS}]", "%[0-9a-f]", r"\.\.|\?\?", "--", r"\x22/|:/|{{|#{|=", _PACKAGES)),
    _SENTENCE, _OPTIONS, _CATALOGUES, _NAMES, _ADDRESSES,
)  # fmt: skip
SUSPICIOUS = Suspicious(target=_TARGET, headers=_HEADERS, agent=_AGENT, form=_FORM, json=_JSON)
