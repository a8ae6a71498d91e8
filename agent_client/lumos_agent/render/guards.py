"""The map that tells shields which rates and which bot check a domain has (lua/guarded.lua reads it)."""

from collections.abc import Iterable
from urllib.parse import quote

from lumos_agent.guard import BotCheck, RateRule
from lumos_agent.schema import Domain

# Kept for everybody of the server: its value for domains without an entry of their own.
EVERYBODY = "*"
UNDER_ATTACK = "attack"
# Keys of a table of counters; lua/rates.lua hashes clients into them.
SLOTS = 2**19


def _field(name: str, value: str) -> str:
    """Return one setting; everything that could end a word, a line or a command is percent-encoded."""
    return f"{name}={quote(value, safe='/')}"


def _rate(rule: RateRule) -> str:
    parts = (
        rule.id, str(rule.requests), str(rule.window_seconds), rule.key, rule.name.lower() if rule.key == "token" else
        rule.name, quote(rule.path, safe="/"), "+".join(rule.methods), rule.header.lower(),
        rule.statuses.replace(",", "+"), rule.action,
    )  # fmt: skip
    return "rate=" + ",".join(part.replace(",", "%2C") for part in parts)


def _check(check: BotCheck) -> list[str]:
    words = [_field("check", check.mode)] if check.mode != "off" else []
    words += ["attack"] * check.under_attack
    words += [_field("path", path) for path in check.exempt_paths]
    words += [_field("method", method) for method in check.exempt_methods]
    words += [_field("token", name.lower()) for name in check.token_headers]
    return [f"level={check.level}", *words]


def guard_entries(
    domains: Iterable[Domain], *, under_attack: bool, attacked: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Return {domain id: value} for domains that have rates or a bot check.

    `under_attack` is the account's switch, `attacked` are the domains on which this shield sees an attack.
    """
    found = {EVERYBODY: UNDER_ATTACK} if under_attack else {}
    for domain in domains:
        check = domain.guard.bot_check
        is_escalated = check.escalation == "auto" and domain.id in attacked
        is_asked = under_attack or is_escalated
        is_checked = check.mode != "off" or check.under_attack or is_asked
        if domain.guard.rates or (is_checked and check != BotCheck()):
            words = _check(check) + ["attack"] * (is_asked and not check.under_attack)
            found[domain.id] = " ".join([*words, *map(_rate, domain.guard.rates)])
    return found
