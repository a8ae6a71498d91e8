"""Verbs on the rate rules and the bot check of a domain."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import transaction

from accounts import audit
from accounts.models import User
from domains.models import Domain
from domains.traffic import plain, refusal
from lumos.errors import InvalidInput
from lumos_agent.guard import Guard as GuardPart
from servers import revisions
from servers.models import Server
from waf.compiler import guard_parts
from waf.models import AccountGuard, Guard


def guard_of(domain_id: uuid.UUID) -> GuardPart:
    """Return the guard of one domain."""
    return guard_parts([domain_id]).get(domain_id, GuardPart())


def canonical_guard(given: Any) -> GuardPart:
    """Return checked settings.

    Raises:
        InvalidInput: `field` is the place, such as rates[0].requests.
    """
    try:
        return msgspec.convert(given, GuardPart)
    except msgspec.ValidationError as error:
        raise refusal(error) from error


def merged_guard(domain_id: uuid.UUID, given: Any) -> GuardPart:
    """Return the guard of a domain with the parts that `given` names: `rates` is replaced, `bot_check` is merged.

    Raises:
        InvalidInput: as `canonical_guard`.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput("The settings are an object such as {“rates”: []}.")
    before = plain(guard_of(domain_id))
    merged = {**before, **given}
    if isinstance(given.get("bot_check"), Mapping):
        merged["bot_check"] = {**before.get("bot_check", {}), **given["bot_check"]}
    return canonical_guard(merged)


@transaction.atomic
def put_guard(*, domain: Domain, wanted: GuardPart, actor: User) -> None:
    """Give a domain these rates and this bot check, and push them."""
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    before, after = plain(guard_of(domain.pk)), plain(wanted)
    changed = {
        name: [before.get(name), after.get(name)]
        for name in GuardPart.__struct_fields__
        if before.get(name) != after.get(name)
    }
    if not changed:
        return
    Guard.objects.update_or_create(domain=domain, defaults={"settings": after})
    cause = audit.record(actor, audit.Action.GUARD_CHANGED, domain, changed)
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])


@transaction.atomic
def put_under_attack(*, under_attack: bool, actor: User) -> None:
    """Turn the account's switch, for all servers at once."""
    row, _ = AccountGuard.objects.get_or_create()
    row = AccountGuard.objects.select_for_update().get(pk=row.pk)
    if row.under_attack == under_attack:
        return
    changed = {"under_attack": [row.under_attack, under_attack]}
    row.under_attack = under_attack
    row.save()
    cause = audit.record(actor, audit.Action.UNDER_ATTACK_CHANGED, row, changed)
    revisions.bump(Server.objects.all(), cause=cause)
