"""How origins do, as the shields report it."""

import datetime
import uuid
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F, QuerySet

from accounts.tenancy import active_account_id
from domains.models import Origin, OriginHealth
from lumos_agent import protocol
from servers import wake

_REASON_CHARACTERS = 300


@transaction.atomic
def record_states(*, server_id: uuid.UUID, states: Sequence[protocol.OriginState]) -> None:
    """Keep what a shield says of its origins and tell open pages; it can speak of no other origin."""
    latest = {state.origin_id: state for state in states}
    own = Origin.objects.filter(pk__in=latest, domain__assignments__server=server_id).order_by("pk")
    account_id = active_account_id()
    rows = [_row(account_id, server_id, latest[str(pk)]) for pk in own.values_list("pk", flat=True)]
    if rows:
        OriginHealth.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["server", "origin"],
            update_fields=["state", "reason", "since"],
        )
        wake.pages_on_commit(account_id, "servers")


def _row(account_id: uuid.UUID, server_id: uuid.UUID, state: protocol.OriginState) -> OriginHealth:
    return OriginHealth(
        account_id=account_id,
        server_id=server_id,
        origin_id=state.origin_id,
        state=state.state,
        reason=state.reason.replace("\0", "")[:_REASON_CHARACTERS],  # PostgreSQL's text cannot hold NUL
        since=datetime.datetime.fromtimestamp(state.since, datetime.UTC),
    )


def of_assigned_servers() -> QuerySet[OriginHealth]:
    """Return states by server; a server that no longer carries a domain has no say about its origins."""
    found: QuerySet[OriginHealth] = OriginHealth.objects.filter(origin__domain__assignments__server=F("server"))
    return found.order_by("server__name")
