"""Why an event happened, in words, and what an exclusion would have let pass. Pure but for reading events."""

import posixpath
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

import msgspec

from lumos_agent.schema import Exclusion as ExclusionPart
from waf.exclusions import ExclusionData
from waf.models import CustomRule, Event, Policy
from waf.rules import Catalogue, catalogue

LOOKED_AT = 2_000
EXAMPLES = 3
PLACES = {
    "path": "the path",
    "segment": "a segment of the path",
    "query": "the query",
    "form": "the form in the body",
    "json": "the JSON in the body",
    "header": "a header",
    "cookie": "a cookie",
    "name": "the name of a parameter",
    "document": "the body",
}


class Reason(NamedTuple):
    """One rule that objected; `group` and `score` are empty for what is no rule of the engine."""

    rule: str
    group: str
    why: str
    score: int


class Excerpt(NamedTuple):
    """A decoded text around what matched; `matched` is empty if it is not in there."""

    before: str
    matched: str
    after: str


class Impact(NamedTuple):
    """What an exclusion would have changed among the newest events of a domain."""

    concerned: int
    passing: int
    clients: int
    examples: list[Event]


class Choice(NamedTuple):
    """An exclusion on offer."""

    label: str
    data: ExclusionData
    impact: Impact


# By what events name, or by what stands before its colon.
SETTINGS = {
    "rule": "A custom rule of the domain.",
    "rate": "The client was over this rate limit of the domain.",
    "bot-check": "The visitor had not passed the bot check.",
    "list-deny": "The client's address or network is on a deny list.",
    "country-deny": "The client's country is denied, or is none of those that are allowed.",
    "agent-deny": "The user agent is on a deny list.",
}


def reasons(event: Event) -> list[Reason]:
    """Return why, strongest first."""
    known, own = catalogue().rules, _own_rules(event)
    found = [
        Reason(name, known[name].group, known[name].why, known[name].score)
        if name in known
        else Reason(own.get(name, name), "", _setting(name), 0)
        for name in event.rules
    ]
    return sorted(found, key=lambda reason: -reason.score)


def _own_rules(event: Event) -> dict[str, str]:
    """Return {custom rule as events name it: as people name it} of the event's domain."""
    if not any(name.startswith("rule:") for name in event.rules):
        return {}
    return {rule.event_name: rule.name for rule in CustomRule.objects.filter(domain=event.domain_id)}


def _setting(name: str) -> str:
    """Return what a reason means that is no rule of the engine."""
    return SETTINGS.get(name) or SETTINGS.get(name.partition(":")[0], "")


def place_of(event: Event) -> tuple[str, str]:
    """Return where the decisive finding was, in words, and the name of the parameter, or ""."""
    place, _, name = event.place.partition(":")
    return PLACES.get(place, place), name


def excerpts(event: Event) -> dict[str, Excerpt]:
    """Return path and query decoded once, cut at what matched."""
    texts = {"Path": unquote(event.path), "Query": unquote_plus(event.query)}
    return {name: _excerpt(text, event.matched) for name, text in texts.items() if text}


def _excerpt(text: str, matched: str) -> Excerpt:
    at = text.lower().find(matched.lower()) if matched else -1
    if at < 0:
        return Excerpt(text, "", "")
    end = at + len(matched)
    return Excerpt(text[:at], text[at:end], text[end:])


def _resolved(path: str) -> str:
    return posixpath.normpath("/" + unquote(path).replace("\\", "/").lstrip("/"))


def _is_below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix.rstrip("/") + "/")


def _concerned(events: Iterable[Event], data: ExclusionData, known: Catalogue) -> list[tuple[Event, int]]:
    """Return (event, score without what is excluded) of the events that the exclusion touches."""
    found = []
    for event in events:
        gone = [rule for rule in event.rules if _names(data.rule, rule, known)]
        in_parameter = not data.parameter or event.place.partition(":")[2] == data.parameter
        if gone and in_parameter and _is_below(_resolved(event.path), data.path):
            left = [known.rules[rule].score for rule in event.rules if rule in known.rules and rule not in gone]
            found.append((event, sum(left)))
    return found


def _names(excluded: str, rule: str, known: Catalogue) -> bool:
    return rule in known.rules and excluded in ("", rule, known.rules[rule].group)


def impact(events: Iterable[Event], data: ExclusionData, level: str) -> Impact:
    """Return what an exclusion would have changed among these events at a level."""
    known = catalogue()
    concerned = _concerned(events, data, known)
    passing = [event for event, score in concerned if score < known.thresholds[level]]
    return Impact(len(concerned), len(passing), len({event.client for event in passing}), passing[:EXAMPLES])


def latest(event: Event) -> list[Event]:
    """Return the newest events of an event's domain, bounded."""
    return list(Event.objects.filter(domain_id=event.domain_id).select_related("domain", "server")[:LOOKED_AT])


def _is_valid(data: ExclusionData) -> bool:
    try:
        msgspec.convert({"rule": data.rule, "path": data.path, "parameter": data.parameter}, ExclusionPart)
    except msgspec.ValidationError:
        return False
    return True


def choices(event: Event, policy: Policy) -> list[Choice]:
    """Return the exclusions that would have let an event pass or lowered its score, narrowest first, for each rule."""
    events, path, name = latest(event), _resolved(event.path), place_of(event)[1]
    found = []
    for reason in reasons(event):
        if not reason.group:
            continue
        offers = [("this rule everywhere", ExclusionData(reason.rule, "", ""))]
        if "%" not in path:
            offers.insert(0, (f"this rule below {path}", ExclusionData(reason.rule, path, "")))
            if name:
                label = f"this rule in parameter {name} below {path}"
                offers.insert(0, (label, ExclusionData(reason.rule, path, name)))
        found += [Choice(label, data, impact(events, data, policy.level)) for label, data in offers if _is_valid(data)]
    return found
