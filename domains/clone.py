"""Taking over settings of one domain for another of the same account."""

import dataclasses
import uuid
from collections.abc import Collection

from django.db import models, transaction

from accounts import audit
from accounts.models import User
from domains.config_export import domain_states
from domains.config_import import put_domain
from domains.config_plan import Step
from domains.models import Domain
from lumos.errors import InvalidInput
from servers import revisions


class Part(models.TextChoices):
    """What can be taken over; each replaces what was there."""

    TRAFFIC = "traffic", "Traffic settings"
    POLICY = "policy", "WAF policy"
    GUARD = "guard", "Rates and bot check"
    SCRIPT = "script", "Own Lua"
    LISTS = "lists", "Allow and deny lists"
    ORIGINS = "origins", "Origins"


@transaction.atomic
def clone_settings(*, domain_id: uuid.UUID, source_id: uuid.UUID, parts: Collection[str], actor: User) -> bool:
    """Make `parts` of a domain as those of another one; returns whether anything differed.

    Raises:
        InvalidInput: nothing to take over, or from itself.
        Domain.DoesNotExist: one of the two is gone.
    """
    if not parts:
        raise InvalidInput(f"Choose what to take over: {', '.join(Part.values)}.", field="parts")
    if domain_id == source_id:
        raise InvalidInput("Choose another domain to take settings from.", field="from")
    # In one order, so that two domains can take from each other at once.
    both = Domain.objects.filter(pk__in=(domain_id, source_id)).order_by("pk")
    list(both.select_for_update(no_key=True).values_list("pk", flat=True))
    target, source = Domain.objects.get(pk=domain_id), Domain.objects.get(pk=source_id)
    states = {state.hostname: state for state in domain_states(both)}
    before, given = states[target.hostname], states[source.hostname]
    after = dataclasses.replace(before, **{part: getattr(given, part) for part in sorted(parts)})
    if after == before:
        return False
    changed = {"from": [None, source.hostname], "parts": [None, ", ".join(sorted(parts))]}
    with revisions.together(audit.record(actor, audit.Action.SETTINGS_CLONED, target, changed)):
        put_domain(Step(what="domain", name=target.hostname, before=before, after=after), servers={}, actor=actor)
    return True
