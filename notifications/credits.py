"""What billing tells: many accounts at once, inside the transaction of a cycle."""

import uuid
from typing import Any

from notifications.kinds import TRAITS, Kind
from notifications.models import Notification
from notifications.outbox import enqueue_on_commit


def note_balance_low(account_ids: list[uuid.UUID], **_: Any) -> None:
    """The balance fell below twice the plan's price."""
    title = "The balance of your account is low"
    text = "It covers less than two more months of your plan. The page Billing says until when; a top-up there lasts."
    _record(Kind.LOW_BALANCE, account_ids, title, text)


def note_frozen(account_ids: list[uuid.UUID], **_: Any) -> None:
    """The balance was short of a charge."""
    title = "Your account is frozen"
    text = (
        "Its credits are used up. The sites behind its shields stay protected as they are; changes, API keys and "
        "alerts wait until the balance covers one price of the plan. Top up under Billing."
    )
    _record(Kind.ACCOUNT_FROZEN, account_ids, title, text)


def _record(kind: Kind, account_ids: list[uuid.UUID], title: str, text: str) -> None:
    urgent = TRAITS[kind].is_urgent
    rows = [
        Notification(account_id=pk, kind=kind, key=f"{kind}:{pk}", title=title, text=text, is_urgent=urgent)
        for pk in account_ids
    ]
    Notification.unscoped.bulk_create(rows, batch_size=1000)
    enqueue_on_commit("notifications.tasks.route_due")
