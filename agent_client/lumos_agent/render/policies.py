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


def rules_value(rules: tuple[CustomRule, ...]) -> str:
    """Return the value of a domain in rules.map: "plain" or "body", as rules read it, and the rules in order."""
    trees = [conditions.parsed(rule.expression) for rule in rules]
    kind = "body" if any("body" in conditions.fields_of(tree) for tree in trees) else "plain"
    words = [
        f"rule={rule.id};{rule.action};{rule.expires} {conditions.compiled(tree)}"
        for rule, tree in zip(rules, trees, strict=True)
    ]
    return " ".join([kind, *words])
