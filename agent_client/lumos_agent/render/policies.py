"""The map that tells the WAF what to do for a domain; its engine parses a value once (lua/policy.lua)."""

from urllib.parse import quote

from lumos_agent import conditions
from lumos_agent.schema import CustomRule, Exclusion, Policy

# What stays as it is; everything else is percent-encoded, so that no value ends a word, a line or a CLI command.
_SAFE = "/"


def _word(exclusion: Exclusion) -> str:
    return f"{exclusion.rule}@{quote(exclusion.path, safe=_SAFE)}@{quote(exclusion.parameter, safe=_SAFE)}"


def policy_value(policy: Policy) -> str:
    """Return the value of one policy in policies.map: mode, level, groups, exclusions."""
    words: list[str] = [policy.mode, policy.level]
    groups = [f"{group}={mode}" for group, mode in sorted(policy.groups.items()) if mode != policy.mode]
    if groups:
        words.append(",".join(groups))
    return " ".join([*words, *(_word(exclusion) for exclusion in policy.exclusions)])


def rules_value(rules: tuple[CustomRule, ...], unknown: frozenset[str] = frozenset()) -> str:
    """Return the value of a domain in rules.map: "plain" or "body", as rules read it, and the rules in order.

    Rules that read a field in `unknown` are left out, as lists are that the shield has no database for; "" if none is
    left.
    """
    trees = [(rule, conditions.parsed(rule.expression)) for rule in rules]
    read = [(rule, tree, conditions.fields_of(tree)) for rule, tree in trees]
    known = [(rule, tree, fields) for rule, tree, fields in read if not fields & unknown]
    if not known:
        return ""
    kind = "body" if any("body" in fields for _, _, fields in known) else "plain"
    return " ".join([kind, *(f"{_rule(rule)} {conditions.compiled(tree)}" for rule, tree, _ in known)])


def _rule(rule: CustomRule) -> str:
    limit = f";{rule.requests};{rule.window_seconds}" if rule.action == "limit" else ""
    return f"rule={rule.id};{rule.action};{rule.expires}{limit}"
