"""The engine's groups and rules, as the engine itself tells them, and what may be named of them."""

from collections.abc import Mapping
from typing import Any

from lumos.errors import InvalidInput
from lumos_agent.waf_try import Catalogue, catalogue
from waf.models import Mode

__all__ = ["Catalogue", "canonical_groups", "catalogue", "known_rule"]


def canonical_groups(given: Mapping[str, Any]) -> dict[str, str]:
    """Return {group: mode} in order.

    Raises:
        InvalidInput: there is no such group or mode.
    """
    known = catalogue().groups
    for group, mode in given.items():
        if group not in known:
            raise InvalidInput(f"There is no rule group “{group}”; the groups are {', '.join(known)}.", field="groups")
        if mode not in Mode.values:
            raise InvalidInput(f"The mode of a group is {', '.join(Mode.values)}, not “{mode}”.", field="groups")
    return dict(sorted(given.items()))


def known_rule(name: str) -> str:
    """Return the name of a rule or group of rules as it is; "" stands for all.

    Raises:
        InvalidInput: there is none of that name.
    """
    found = catalogue()
    if name and name not in found.rules and name not in found.groups:
        raise InvalidInput(
            f"There is no rule or group “{name}”; an event's page shows the ids of the rules that objected.",
            field="rule",
        )
    return name
