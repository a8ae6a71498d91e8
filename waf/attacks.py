"""Attacks that shields see: stored as they are told, and shown while they go on."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from domains.models import Domain
from lumos_agent import protocol
from notifications import causes
from servers.models import Server
from waf.models import Attack

# A shield repeats every ten minutes that an attack goes on; one that is silent for longer has lost it.
SILENT = timedelta(minutes=30)


def store_attacks(server: Server, attacks: Sequence[protocol.Attack]) -> int:
    """Store what one batch tells, inside the caller's transaction; returns how much. Telling it twice changes nothing.

    Attacks on domains that are gone are ignored.
    """
    ids = {attack.domain_id for attack in attacks}
    known = set(map(str, Domain.objects.filter(pk__in=ids).values_list("pk", flat=True))) if ids else set()
    told = [attack for attack in attacks if attack.domain_id in known]
    for attack in told:
        values = {
            "ended_at": datetime.fromtimestamp(attack.ended, UTC) if attack.ended else None,
            "told_at": timezone.now(),
            "reason": attack.reason,
            "is_checked": attack.is_checked,
            "requests": attack.requests_per_second,
            "normal": attack.normal_per_second,
            "peak": attack.peak_per_second,
            "errors": attack.errors_per_second,
            "challenges": attack.challenges_per_second,
        }
        began_at = datetime.fromtimestamp(attack.began, UTC)
        row, is_new = Attack.objects.update_or_create(
            server=server, domain_id=attack.domain_id, began_at=began_at, defaults=values
        )
        if is_new and row.ended_at is None:
            causes.attack_began(row)
    return len(told)


def attacks_now(domain_id: uuid.UUID | None = None) -> QuerySet[Attack]:
    """Return the attacks that go on, on one domain or on all."""
    rows = Attack.objects.filter(ended_at=None, told_at__gt=timezone.now() - SILENT)
    return rows if domain_id is None else rows.filter(domain_id=domain_id)


def expire_attacks(before: Any) -> int:
    """Delete the attacks of all tenants that began before a time; returns how many."""
    gone, _ = Attack.unscoped.filter(began_at__lt=before).delete()
    return gone
