"""Flood protection of a server: the setting."""

from typing import Any

from django.db import transaction

from accounts import audit
from accounts.models import User
from lumos.errors import InvalidInput
from servers import revisions
from servers.forward_parts import FLOOD_FIELDS, flood_settings
from servers.models import Server

# Browsers open several connections at once, and one address may be a whole office.
LEAST = {"connections": 20, "new_per_second": 10}


@transaction.atomic
def put_flood(*, server: Server, actor: User, **values: Any) -> Server:
    """Change what is given of `FIELDS`.

    Raises:
        InvalidInput: a limit would hit ordinary visitors.
    """
    for name, least in LEAST.items():
        if 0 < values.get(name, 0) < least:
            detail = f"Ordinary browsers need more than that: enter at least {least}, or 0 for no limit."
            raise InvalidInput(detail, field=name)
    row: Server = Server.objects.select_for_update(no_key=True).get(pk=server.pk)
    before = flood_settings(row)
    for name, value in values.items():
        setattr(row, f"flood_{name}", value)
    if changed := audit.changes(before, flood_settings(row)):
        row.save(update_fields=[f"flood_{name}" for name in FLOOD_FIELDS])
        cause = audit.record(actor, audit.Action.FLOOD_CHANGED, row, changed)
        revisions.bump([row], cause=cause, touched=None)
    return row
