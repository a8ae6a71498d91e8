"""Verbs on exclusions: what the rules of a domain do not object to."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from domains import traffic
from domains.models import Domain
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.document import ConfigPolicy
from lumos_agent.schema import EXCLUSIONS_MAX, Policy
from lumos_agent.schema import Exclusion as ExclusionPart
from servers import revisions
from waf.custom_rules import replace_rules, restore_rules
from waf.models import Exclusion
from waf.rules import known_rule
from waf.services import change_policy


class ExclusionData(NamedTuple):
    """What an exclusion says; the note is for people."""

    rule: str
    path: str
    parameter: str
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What no second exclusion of the domain may be alike in."""
        return self.rule, self.path, self.parameter


def canonical_exclusion(rule: str = "", path: str = "", parameter: str = "", note: str = "") -> ExclusionData:
    """Return an exclusion in canonical form.

    Raises:
        InvalidInput: nothing is named, or not as it is compared on the shield.
    """
    data = ExclusionData(known_rule(rule.strip()), path.strip(), parameter.strip().lower(), note.strip())
    if not any(data.key):
        raise InvalidInput(
            "Name a rule, a path or a parameter; to switch the rules off, change the mode.", field="rule"
        )
    try:
        msgspec.convert(dict(zip(("rule", "path", "parameter"), data.key, strict=True)), ExclusionPart)
    except msgspec.ValidationError as error:
        raise traffic.refusal(error) from error
    return data


@transaction.atomic
def add_exclusion(
    *, domain: Domain, rule: str = "", path: str = "", parameter: str = "", note: str = "", actor: User
) -> Exclusion:
    """Let findings of a rule or group pass, below a path or in a parameter.

    Raises:
        InvalidInput: nothing is named, or there is no such rule.
        Conflict: it exists.
        LimitReached: the domain has too many.
    """
    data = canonical_exclusion(rule, path, parameter, note)
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    if Exclusion.objects.filter(domain=domain).count() >= EXCLUSIONS_MAX:
        raise LimitReached(
            f"A domain has at most {EXCLUSIONS_MAX} exclusions; remove one, or switch a group of rules to detect."
        )
    row = Exclusion(domain=domain, created_by=actor, **data._asdict())
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict("This exclusion exists already.", field="rule") from error
    cause = audit.record(actor, audit.Action.EXCLUSION_ADDED, domain, {"exclusion": [None, str(row)]})
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])
    return row


@transaction.atomic
def remove_exclusion(*, exclusion: Exclusion, actor: User) -> None:
    """Let the rules object again."""
    domain = exclusion.domain
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    cause = audit.record(actor, audit.Action.EXCLUSION_REMOVED, domain, {"exclusion": [str(exclusion), None]})
    exclusion.delete()
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])


@transaction.atomic
def replace_exclusions(
    *, domain: Domain, wanted: Iterable[ExclusionData], actor: User, with_notes: bool = True
) -> None:
    """Make the exclusions of a domain equal these canonical ones; without `with_notes` those that stay keep theirs.

    Raises:
        LimitReached: the domain would have too many.
    """
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    present = {(row.rule, row.path, row.parameter): row for row in Exclusion.objects.filter(domain=domain)}
    named = {data.key: data for data in wanted}
    if len(named) > EXCLUSIONS_MAX:
        raise LimitReached(f"A domain has at most {EXCLUSIONS_MAX} exclusions; leave some out.")
    gone = [row for key, row in present.items() if key not in named]
    new = [Exclusion(domain=domain, created_by=actor, **d._asdict()) for key, d in named.items() if key not in present]
    noted = [row for key, row in present.items() if with_notes and key in named and row.note != named[key].note]
    if not gone and not new and not noted:
        return
    Exclusion.objects.filter(pk__in=[row.pk for row in gone]).delete()
    for row in new:
        row.save()
    for row in noted:
        row.note = named[row.rule, row.path, row.parameter].note
        row.save(update_fields=["note"])
    changed = {"exclusions": [[str(row) for row in gone], [str(row) for row in new]]}
    cause = audit.record(actor, audit.Action.EXCLUSIONS_REPLACED, domain, changed if gone or new else {})
    if gone or new:
        revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])


@transaction.atomic
def put_policy(*, domain: Domain, wanted: ConfigPolicy | Policy, actor: User) -> None:
    """Make the whole policy of a domain as wanted; a snapshot's policy has no notes, so those stay.

    Raises:
        InvalidInput: a rule or group is not known any more.
    """
    change_policy(policy=domain.policy, mode=wanted.mode, level=wanted.level, groups=wanted.groups, actor=actor)
    exclusions = [canonical_exclusion(**msgspec.structs.asdict(exclusion)) for exclusion in wanted.exclusions]
    replace_exclusions(domain=domain, wanted=exclusions, with_notes=isinstance(wanted, ConfigPolicy), actor=actor)
    if isinstance(wanted, ConfigPolicy):
        replace_rules(domain=domain, wanted=wanted.custom, actor=actor)
    else:
        restore_rules(domain=domain, wanted=wanted.custom, actor=actor)
