"""Traffic rules as lines of text, one rule each, and back. What a rule may hold is the schema's affair."""

import re
from typing import Any

from lumos_agent.traffic import HeaderRule, Redirect, Route, Target

_STATUSES = (301, 302, 307, 308)
_USUAL_WEIGHT = 100
_SCHEMES = {"http": ("off", 80), "https": ("verify", 443), "https+insecure": ("on", 443)}
_SCHEME_OF = {tls: scheme for scheme, (tls, _) in _SCHEMES.items()}
_URL = re.compile(
    r"(?P<scheme>https?|https\+insecure)://(?P<address>\[[^\]]*\]|[^:/@\[\]]+)(?::(?P<port>[0-9]+))?/?", re.IGNORECASE
)


def header_line(rule: HeaderRule) -> str:
    """Return “response add X-Name: value”."""
    return f"{rule.on} {rule.action} {rule.name}" + (f": {rule.value}" if rule.value else "")


def header_rule(line: str) -> dict[str, Any]:
    """Parse what `header_line` writes.

    Raises:
        ValueError: it is no such line.
    """
    words = line.split(maxsplit=2)
    on, action = words[0].lower(), words[1].lower() if len(words) == 3 else ""
    if on not in {"request", "response"} or action not in {"set", "add", "remove"}:
        raise ValueError("Write “request set X-Name: value”, “response add X-Name: value” or “response remove X-Name”.")
    name, _, value = words[2].partition(":")
    return {"on": on, "action": action, "name": name.strip(), "value": value.strip()}


def redirect_line(redirect: Redirect) -> str:
    """Return “/old https://new.example/ 301”, with “prefix” behind it unless the whole path is compared."""
    return f"{redirect.path} {redirect.to} {redirect.status}" + ("" if redirect.exact else " prefix")


def redirect_rule(line: str) -> dict[str, Any]:
    """Parse what `redirect_line` writes; the status may be left out.

    Raises:
        ValueError: it is no such line.
    """
    words = line.split()
    if is_prefix := words[-1].lower() == "prefix":
        words.pop()
    if not 2 <= len(words) <= 3:
        raise ValueError("Write a path, where it leads, a status and perhaps “prefix”: /old https://new.example/ 301.")
    rule: dict[str, Any] = {"path": words[0], "to": words[1], "exact": not is_prefix}
    if len(words) == 3:
        if words[2] not in map(str, _STATUSES):
            raise ValueError(f"“{words[2][:80]}” is no status of a redirect; use 301, 302, 307 or 308.")
        rule["status"] = int(words[2])
    return rule


def route_line(route: Route) -> str:
    """Return “/api http://10.0.0.5:8080 weight=10 https://origin.example:443 backup”."""
    return " ".join([route.path, *(word for target in route.origins for word in _target_words(target))])


def _target_words(target: Target) -> list[str]:
    address = f"[{target.address}]" if ":" in target.address else target.address
    words = [f"{_SCHEME_OF[target.tls]}://{address}:{target.port}"]
    if target.weight != _USUAL_WEIGHT:
        words.append(f"weight={target.weight}")
    return words + ["backup"] * target.backup


def route_rule(line: str) -> dict[str, Any]:
    """Parse what `route_line` writes; a port that is left out is 80 or 443.

    Raises:
        ValueError: it is no such line.
    """
    path, *words = line.split()
    targets: list[dict[str, Any]] = []
    for word in words:
        if match := _URL.fullmatch(word):
            targets.append(_target(match))
        elif not targets:
            raise ValueError(
                f"“{word[:80]}” is no URL such as http://10.0.0.5:8080; paths and users have no place there."
            )
        elif word.lower() == "backup":
            targets[-1]["backup"] = True
        else:
            targets[-1]["weight"] = _weight(word)
    if not targets:
        raise ValueError("Write a path and at least one URL: /api http://10.0.0.5:8080.")
    return {"path": path, "origins": targets}


def _target(match: re.Match[str]) -> dict[str, Any]:
    tls, usual_port = _SCHEMES[match["scheme"].lower()]
    port = _number(match["port"], 1, 65535, "port") if match["port"] else usual_port
    return {"address": match["address"], "port": port, "tls": tls}


def _weight(word: str) -> int:
    name, _, number = word.partition("=")
    if name.lower() != "weight":
        raise ValueError(
            f"“{word[:80]}” is neither a URL such as http://10.0.0.5:8080 nor, behind one, “weight=10” or “backup”."
        )
    return _number(number, 0, 256, "weight")


def _number(text: str, smallest: int, largest: int, name: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not smallest <= int(text) <= largest:
        raise ValueError(f"“{text[:80]}” is no {name}; use a number from {smallest} to {largest}.")
    return int(text)
