"""Verbs on custom rules, and what they would have done to stored events."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import Domain
from lumos.errors import InvalidInput, LimitReached
from lumos_agent import conditions
from lumos_agent.document import ConfigRule
from lumos_agent.errors import AgentError
from lumos_agent.schema import CUSTOM_RULES_MAX
from lumos_agent.schema import CustomRule as CustomRulePart
from lumos_agent.waf_try import Sample, dry_run
from servers import revisions
from waf.compiler import custom_part
from waf.models import CustomRule, Event, RuleAction

LANGUAGE = (
    f'Fields: {", ".join(conditions.TEXT_FIELDS)}, ip, country, asn, header["name"], cookie["name"]. '
    f"Operators: {', '.join(conditions.TEXT_OPERATORS)}; for ip also in_cidr; for country and asn eq, ne, in. "
    'Joined by and, or, not and parentheses. Examples: path starts_with "/admin" and not ip in_cidr {"192.0.2.0/24", '
    '"2001:db8::/32"} · not country in {"DE", "AT"} and method eq "POST" · asn eq "AS64500". Rules that read country '
    "or asn have no effect on shields without a database for them."
)
LOOKED_BACK = timedelta(hours=1)
LOOKED_AT = 2_000
EXAMPLES = 5
FIELDS = ("position", "name", "expression", "action", "requests", "window_seconds", "enabled", "expires_at")


class DryRun(NamedTuple):
    """How many of the events of the last hour a condition would have held for, and some of them."""

    events: int
    matching: int
    examples: list[Event]


def canonical_expression(text: str) -> str:
    """Return a condition in one line.

    Raises:
        InvalidInput: it is none; the message begins with the column of the mistake.
    """
    line = " ".join(text.split("\n")).replace("\r", " ").replace("\t", " ").strip()
    if any(ord(char) < 32 or ord(char) == 127 for char in line):
        raise InvalidInput("A condition holds no control characters.", field="expression")
    try:
        conditions.parsed(line)
    except conditions.ConditionError as error:
        raise InvalidInput(f"{error}.", field="expression") from error
    return line


def canonical_limit(action: str, requests: int | None, window_seconds: int) -> tuple[int, int]:
    """Return requests and window of a rule: those given for the action limit, (0, 60) for every other.

    Raises:
        InvalidInput: a rule that limits does not say how much.
    """
    if action != RuleAction.LIMIT:
        return 0, 60
    if not requests:
        raise InvalidInput("Say how many requests a client may send before it gets 429.", field="requests")
    return requests, window_seconds


def _lock(domain: Domain) -> None:
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)


def _refuse_too_many(domain: Domain) -> None:
    if CustomRule.objects.filter(domain=domain).count() >= CUSTOM_RULES_MAX:
        raise LimitReached(f"A domain has at most {CUSTOM_RULES_MAX} custom rules; join some with “or”.")


@transaction.atomic
def add_rule(
    *,
    domain: Domain,
    name: str,
    expression: str,
    action: str,
    requests: int | None = None,
    window_seconds: int = 60,
    position: int | None = None,
    enabled: bool = True,
    expires_at: datetime | None = None,
    actor: User,
) -> CustomRule:
    """Add a rule, at the end unless a position is given.

    Raises:
        InvalidInput: the condition is none, or a limit does not say how much.
        LimitReached: the domain has too many.
    """
    clean = canonical_expression(expression)
    requests, window_seconds = canonical_limit(action, requests, window_seconds)
    _lock(domain)
    _refuse_too_many(domain)
    if position is None:
        last = CustomRule.objects.filter(domain=domain).aggregate(last=Max("position"))["last"]
        position = 0 if last is None else last + 1
    row = CustomRule(
        domain=domain, name=name.strip(), expression=clean, action=action, position=position, enabled=enabled,
        expires_at=expires_at, requests=requests, window_seconds=window_seconds,
    )  # fmt: skip
    row.save()
    cause = audit.record(actor, audit.Action.CUSTOM_RULE_ADDED, domain, {row.name: [None, f"{action} if {clean}"]})
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])
    return row


@transaction.atomic
def change_rule(*, rule: CustomRule, actor: User, **changes: Any) -> CustomRule:
    """Change what is given of `FIELDS`.

    Raises:
        InvalidInput: the condition is none, or a limit does not say how much.
    """
    _lock(rule.domain)
    row: CustomRule = CustomRule.objects.select_for_update().get(pk=rule.pk)
    if "expression" in changes:
        changes["expression"] = canonical_expression(changes["expression"])
    rate = {name: changes.get(name, getattr(row, name)) for name in ("action", "requests", "window_seconds")}
    changes["requests"], changes["window_seconds"] = canonical_limit(**rate)
    before = {name: getattr(row, name) for name in changes}
    for name, value in changes.items():
        setattr(row, name, value)
    changed = audit.changes(before, changes)
    if changed:
        row.save()
        told = {name: [str(value) for value in values] for name, values in changed.items()}
        cause = audit.record(actor, audit.Action.CUSTOM_RULE_CHANGED, row.domain, told)
        revisions.bump(row.domain.servers.all(), cause=cause, touched=[row.domain_id])
    return row


@transaction.atomic
def remove_rule(*, rule: CustomRule, actor: User) -> None:
    """Remove a rule."""
    domain = rule.domain
    _lock(domain)
    told = {rule.name: [f"{rule.action} if {rule.expression}", None]}
    cause = audit.record(actor, audit.Action.CUSTOM_RULE_REMOVED, domain, told)
    rule.delete()
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])


def _replace(domain: Domain, rows: list[CustomRule], actor: User) -> None:
    gone = CustomRule.objects.filter(domain=domain)
    told = {"rules": [[str(row) for row in gone], [str(row) for row in rows]]}
    gone.delete()
    for row in rows:
        row.save()
    cause = audit.record(actor, audit.Action.CUSTOM_RULES_REPLACED, domain, told)
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])


@transaction.atomic
def replace_rules(*, domain: Domain, wanted: Iterable[ConfigRule], actor: User) -> None:
    """Make the rules of a domain as a document has them, in its order; rules that stay keep their counts."""
    _lock(domain)
    rules = list(wanted)
    if document_rules([domain.pk]).get(domain.pk, ()) == tuple(rules):
        return
    known = {(row.name, row.expression): row.pk for row in CustomRule.objects.filter(domain=domain)}
    rows = [
        CustomRule(
            pk=known.pop((rule.name, rule.expression), None) or uuid.uuid4(),
            domain=domain, position=position, name=rule.name, expression=canonical_expression(rule.expression),
            action=rule.action, requests=rule.requests, window_seconds=rule.window_seconds, enabled=rule.enabled,
            expires_at=datetime.fromtimestamp(rule.expires, UTC) if rule.expires else None,
        )
        for position, rule in enumerate(rules)
    ]  # fmt: skip
    _replace(domain, rows, actor)


@transaction.atomic
def restore_rules(*, domain: Domain, wanted: tuple[CustomRulePart, ...], actor: User) -> None:
    """Make the enabled rules of a domain as a snapshot has them; names come back where the rule still exists."""
    _lock(domain)
    present = {str(row.pk): row for row in CustomRule.objects.filter(domain=domain)}
    rows = []
    for position, part in enumerate(wanted):
        known = present.get(part.id)
        rows.append(
            CustomRule(
                pk=uuid.UUID(part.id), domain=domain, position=position, name=known.name if known else "restored",
                expression=part.expression, action=part.action, requests=part.requests,
                window_seconds=part.window_seconds,
                expires_at=datetime.fromtimestamp(part.expires, UTC) if part.expires else None,
            )
        )  # fmt: skip
    kept = [row for row in present.values() if not row.enabled and row.pk not in {new.pk for new in rows}]
    for position, row in enumerate(kept, len(rows)):
        row.position = position
    if [(r.pk, custom_part(r)) for r in rows] != [(r.pk, custom_part(r)) for r in present.values() if r.enabled]:
        _replace(domain, [*rows, *kept], actor)


def document_rules(domain_ids: Any) -> dict[Any, tuple[ConfigRule, ...]]:
    """Return {domain id: rules as documents have them, in order}."""
    found: dict[Any, list[ConfigRule]] = {}
    for row in CustomRule.objects.filter(domain_id__in=domain_ids):
        expires = int(row.expires_at.timestamp()) if row.expires_at else 0
        found.setdefault(row.domain_id, []).append(
            ConfigRule(
                name=row.name,
                expression=row.expression,
                action=row.action,
                requests=row.requests,
                window_seconds=row.window_seconds,
                enabled=row.enabled,
                expires=expires,
            )
        )
    return {domain_id: tuple(rules) for domain_id, rules in found.items()}


def dry_run_of(*, domain: Domain, expression: str) -> DryRun:
    """Return for which events of the last hour a condition would have held; headers, cookies and bodies are not kept.

    Raises:
        InvalidInput: the condition is none, or takes too long.
    """
    rule = CustomRulePart(id=str(domain.pk), action="log", expression=canonical_expression(expression))
    since = timezone.now() - LOOKED_BACK
    events = list(Event.objects.filter(domain=domain, created_at__gte=since).select_related("domain")[:LOOKED_AT])
    samples = [
        Sample(
            client=e.client, method=e.method, path=e.path, query=e.query, host=e.host, user_agent=e.user_agent,
            country=e.country, asn=str(e.asn or ""),
        )
        for e in events
    ]  # fmt: skip
    try:
        found = dry_run((rule,), samples, int(since.timestamp()))
    except AgentError as error:
        raise InvalidInput(f"This could not be tried: {error}.", field="expression") from error
    matching = [event for event, ids in zip(events, found, strict=True) if ids]
    return DryRun(len(events), len(matching), matching[:EXAMPLES])
