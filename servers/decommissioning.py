"""The end of a shield: it leaves domains and answers at once, its agent gives the machine back, then its row goes.

Whether the agent does its part or never answers, the row is gone within an hour.
"""

import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.tenancy import tenant_scope
from domains import failover, zone_following
from domains.models import DomainServer
from domains.zone_models import ZoneServer
from lumos.errors import Conflict
from lumos_agent import protocol
from servers import services, wake
from servers.models import Server
from servers.peers import tell_neighbours

GONE_WITHIN = timedelta(hours=1)
ASKED_AGAIN = timedelta(minutes=50)


@transaction.atomic
def decommission_server(*, server: Server, actor: User, force: bool = False) -> Server:
    """Take a shield out of everything and ask its agent to uninstall; a second call asks again.

    Raises:
        Conflict: only this server carries a domain, and not `force`; or only it answers for a zone.
    """
    if not force:
        services.refuse_only_server(server)
    zone_following.refuse_only_server(server)
    if server.decommissioned_at is None:
        _take_out(server, actor)
    errand = {"errand_id": uuid.uuid4(), "errand_error": ""}
    Server.objects.filter(pk=server.pk).update(decommissioned_at=server.decommissioned_at or timezone.now(), **errand)
    server.refresh_from_db()
    wake.gateways_on_commit("errand", [server.pk])
    wake.pages_on_commit(server.account_id, "servers")
    return server


def _take_out(server: Server, actor: User) -> None:
    """Let its domains and zones do without it. Zones are locked before servers."""
    cause = audit.record(actor, audit.Action.SERVER_DECOMMISSIONED, server, {"name": [server.name, None]})
    concerned = zone_following.zones_with(servers=[server])
    domains = list(DomainServer.objects.filter(server=server).values_list("domain_id", flat=True))
    DomainServer.objects.filter(server=server).delete()
    ZoneServer.objects.filter(server=server).delete()
    zone_following.follow(concerned, cause=cause)
    failover.look_at_domains_after_commit(domains)
    tell_neighbours([server.pk])


def require_in_service(server: Server) -> None:
    """Refuse to give a shield that is on its way out anything new.

    Raises:
        Conflict: it is.
    """
    if server.decommissioned_at is not None:
        raise Conflict(f"{server.name} is being decommissioned; choose another server.", field="servers")


def errand(server_id: Any) -> protocol.Errand | None:
    """Return what the agent of a server in scope is to have done, if it can have it done."""
    row = Server.objects.filter(pk=server_id, decommissioned_at__isnull=False, facts__takes_errands=True).first()
    return None if row is None else protocol.Errand(id=str(row.errand_id), kind="uninstall")


@transaction.atomic
def record_done(*, server_id: Any, done: protocol.ErrandDone) -> None:
    """Take what root says of an errand: the row goes, or says why it is still there."""
    row = Server.objects.select_for_update().filter(pk=server_id, decommissioned_at__isnull=False).first()
    if row is None or str(row.errand_id) != done.id:
        return
    if done.is_done:
        services.forget_server(row, actor=None)
        return
    row.errand_error = done.message.replace("\0", "")  # PostgreSQL's texts cannot hold NUL
    row.save()
    wake.pages_on_commit(row.account_id, "servers")


def finish() -> dict[str, int]:
    """Remove the shields of all tenants whose time is over, and ask the others again."""
    asked = finished = 0
    now = timezone.now()
    rows = Server.unscoped.filter(decommissioned_at__isnull=False)
    for pk, account_id in rows.values_list("pk", "account_id"):
        with tenant_scope(account_id), transaction.atomic():
            row = Server.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                continue
            if row.decommissioned_at <= now - ASKED_AGAIN:
                services.forget_server(row, actor=None)
                finished += 1
            else:
                wake.gateways_on_commit("errand", [pk])
                asked += 1
    return {"asked": asked, "finished": finished}
