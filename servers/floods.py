"""Flood protection of a server: the setting, and its part of a snapshot."""

import ipaddress
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.models import User
from lumos.errors import InvalidInput
from lumos_agent.flood import FloodLimits
from servers import revisions
from servers.models import Server

FIELDS = ("connections", "new_per_second", "bans")
# Browsers open several connections at once, and one address may be a whole office.
LEAST = {"connections": 20, "new_per_second": 10}


def settings_of(server: Server) -> dict[str, Any]:
    """Return {field: value}."""
    return {name: getattr(server, f"flood_{name}") for name in FIELDS}


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
    before = settings_of(row)
    for name, value in values.items():
        setattr(row, f"flood_{name}", value)
    if changed := audit.changes(before, settings_of(row)):
        row.save(update_fields=[f"flood_{name}" for name in FIELDS])
        cause = audit.record(actor, audit.Action.FLOOD_CHANGED, row, changed)
        revisions.bump([row], cause=cause, touched=None)
    return row


def flood_part(server: Server) -> FloodLimits:
    """Return what the kernel of a server does; the account's servers are spared, because they probe each other."""
    part = FloodLimits(**settings_of(server))
    if not part.is_on():
        return FloodLimits()
    pairs = Server.objects.values_list("public_ipv4", "public_ipv6")
    addresses = {address for pair in pairs for address in pair if address}
    return FloodLimits(**settings_of(server), spared=tuple(sorted(str(ipaddress.ip_network(a)) for a in addresses)))
