"""Lets an account's deletion, and nothing else, delete its ledger entries, and keeps bookings away meanwhile.

PostgreSQL's trigger (migration 0002) asks for a setting that lasts until the end of the transaction and names the
account. SQLite has no such settings; there only changes of entries are refused.
"""

from typing import Any

from django.db import connections
from django.db.models.signals import pre_delete

from accounts.models import Account
from billing.models import Wallet

SETTING = "lumos.erased_accounts"


def connect() -> None:
    """Hear of every account's deletion, the admin's included."""
    pre_delete.connect(_permit, sender=Account, dispatch_uid="billing.erasure")


def _permit(sender: type[Account], instance: Account, using: str, **_: Any) -> None:
    # Whoever books holds the wallet: afterwards nobody adds an entry that this deletion does not see.
    Wallet.unscoped.using(using).select_for_update().filter(account=instance).first()
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config(%s, concat_ws(',', nullif(current_setting(%s, true), ''), %s::text), true)",
                [SETTING, SETTING, str(instance.pk)],
            )
