"""The constrained types of which a snapshot is made.

Every string has a grammar that excludes control characters, and all but header values, pages and redirect targets also
exclude quotes and white space, so no value can end a line or a word in a daemon's configuration. Patterns end in
``\\Z`` because ``$`` also matches before a final newline.
"""

from typing import Annotated, Any

from msgspec import Meta

_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
HOSTNAME_PATTERN = rf"\A(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}\Z"
SERVED_PATTERN = rf"\A(?:\*|(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL})\Z"

Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
# Certificates as `openssl` writes them, the site's own first (RFC 7468).
Chain = Annotated[
    str,
    Meta(
        pattern=r"\A(?:-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n){1,10}\Z",
        max_length=65_536,
    ),
]
# CA certificates as `openssl` writes them.
Bundle = Annotated[
    str,
    Meta(
        pattern=r"\A(?:-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n){1,20}\Z",
        max_length=65_536,
    ),
]
Sealed = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]{1,32768}={0,2}\Z")]
Scope = Annotated[str, Meta(pattern=r"\A(?:\*|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")]
Served = Annotated[str, Meta(pattern=SERVED_PATTERN, max_length=253)]
Address = Annotated[str, Meta(pattern=r"\A[0-9a-z.:-]{1,253}\Z")]
Network = Annotated[str, Meta(pattern=r"\A[0-9a-f.:]{2,45}/[0-9]{1,3}\Z")]
# What a list holds: a network, an autonomous system, a country (ISO 3166-1), or a part of user agents in lower case.
Entry = Annotated[
    str,
    Meta(
        pattern=r"\A(?:[0-9a-f.:]{2,45}/[0-9]{1,3}|AS[0-9]{1,10}|country:[A-Z]{2}"
        r"|agent:[a-z0-9._/;:()+,@*-](?:[a-z0-9._/;:()+,@* -]{0,62}[a-z0-9._/;:()+,@*-])?)\Z"
    ),
]
# 32 bytes in Base64, or nothing.
ProbeKey = Annotated[str, Meta(pattern=r"\A(?:[A-Za-z0-9+/]{43}=)?\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Weight = Annotated[int, Meta(ge=0, le=256)]
NameOrNone = Annotated[str, Meta(pattern=rf"\A(?:(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL})?\Z", max_length=253)]

# RFC 9110, 5.6.2: token; 5.5: field-content without obs-text.
HeaderName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")]
HeaderValue = Annotated[str, Meta(pattern=r"\A[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?\Z|\A\Z")]
CookieName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{0,64}\Z")]
# RFC 3986, 3.3: an absolute path without its query.
Path = Annotated[str, Meta(pattern=r"\A/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,1023}\Z")]
PathAndQuery = Annotated[str, Meta(pattern=r"\A/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,1023}\Z")]
# What an exclusion of the WAF names: a rule or a group, a path prefix, a parameter (lower case, as it is compared).
GroupName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{1,31}\Z")]
RuleName = Annotated[str, Meta(pattern=r"\A(?:[a-z][a-z0-9-]{1,47})?\Z")]
PathPrefix = Annotated[str, Meta(pattern=r"\A(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,127})?\Z")]
ParameterName = Annotated[str, Meta(pattern=r"\A[a-z0-9_.\[\]$:@/-]{0,64}\Z")]
# Rate rules and the bot check: a rule's id, a header or cookie, a path prefix that is there.
RateName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
KeyName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{0,64}\Z")]
ExemptPath = Annotated[str, Meta(pattern=r"\A/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,127}\Z")]
# An absolute path or an http(s) URL.
Location = Annotated[
    str, Meta(pattern=r"\A(?:https?://[A-Za-z0-9.:\[\]_-]{1,260})?(?:[/?][A-Za-z0-9._~!$&'()*+,;=:@%/?#-]{0,1023})?\Z")
]
DirectoryUrl = Annotated[str, Meta(pattern=r"\Ahttps://[A-Za-z0-9.:\[\]_-]{1,260}/[A-Za-z0-9._~/-]{0,255}\Z")]
# The id of an account that a CA keeps elsewhere (RFC 8555, 7.3.4).
AccountId = Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,256}\Z")]
SealedOrNone = Annotated[str, Meta(pattern=r"\A(?:[A-Za-z0-9+/]{1,4096}={0,2})?\Z")]
EmailOrNone = Annotated[str, Meta(pattern=r"\A(?:[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253})?\Z")]

# Codes and ranges of codes, such as 200-399,404.
_STATUS = r"[1-5][0-9]{2}(?:-[1-5][0-9]{2})?"
StatusList = Annotated[str, Meta(pattern=rf"\A{_STATUS}(?:,{_STATUS}){{0,9}}\Z")]
StatusListOrNone = Annotated[str, Meta(pattern=rf"\A(?:{_STATUS}(?:,{_STATUS}){{0,9}})?\Z")]
# What people write for people: anything but NUL, which PostgreSQL does not store.
Text = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
Html = Annotated[str, Meta(pattern=r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z", max_length=8192)]

# What conditions.py parses.
Expression = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]+\Z", max_length=2000)]
# What script/compiler.py reads.
ScriptSource = Annotated[str, Meta(pattern=r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z", max_length=65_536)]

_WORDS: tuple[tuple[Any, str], ...] = (
    (Address, "Enter an IP address or a hostname."),
    (Network, "Enter an address or a network such as 203.0.113.0/24 or 2001:db8::/32."),
    (NameOrNone, "Enter a hostname such as www.example.com."),
    (HeaderName, "A header name has letters, digits and hyphens, for example X-Frame-Options."),
    (
        HeaderValue,
        "A header value is one line of visible ASCII, at most 1024 characters, no space at the ends.",
    ),
    (CookieName, "A cookie name has letters, digits, - and _, at most 64."),
    (Path, "A path begins with / and is percent-encoded: no spaces, quotes, ? or #; at most 1024 characters."),
    (PathAndQuery, "A path begins with / and is percent-encoded: no spaces, quotes or #; at most 1024 characters."),
    (RuleName, "A rule or a group of rules has a name such as sqli or sqli-union."),
    (PathPrefix, "A path begins with / and is percent-encoded: no spaces, quotes, ? or #; at most 128 characters."),
    (ParameterName, "Enter the name of a parameter in lower case, at most 64 characters, without spaces."),
    (Expression, "A condition is one line of at most 2000 characters."),
    (Location, "Enter a path that begins with /, or a whole URL that begins with http:// or https://."),
    (StatusList, "Enter status codes and ranges, for example 200-399,404."),
    (RateName, "A rate rule has an id such as login: lower-case letters, digits and hyphens, at most 32."),
    (KeyName, "A header or cookie has letters, digits, - and _, at most 64."),
    (ExemptPath, "A path begins with / and is percent-encoded: no spaces, quotes, ? or #; at most 128 characters."),
    (DirectoryUrl, "Enter the CA's ACME directory, an https:// URL without a query."),
    (AccountId, "Enter the key id that the CA gave you: one word."),
    (EmailOrNone, "Enter an e-mail address, or none."),
    (StatusListOrNone, "Enter status codes and ranges, for example 401,403 or 400-499."),
    (Text, "Take the NUL character out."),
    (Bundle, "Enter CA certificates in PEM form, at most 20: -----BEGIN CERTIFICATE----- …"),
    (Html, "A page may hold no control characters."),
    (ScriptSource, "A script may hold no control characters but tabs and line breaks."),
)
# What to write instead, by the pattern as an error of msgspec quotes it.
EXPLAINED = {repr(constrained.__metadata__[0].pattern): text for constrained, text in _WORDS}
