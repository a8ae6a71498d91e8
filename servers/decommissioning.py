"""The end of a shield: it leaves domains and answers at once, its agent gives the machine back, then its row goes.

Whether the agent does its part or never answers, the row is gone within an hour.
"""

import logging
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.tenancy import tenant_scope
from domains import failover, zone_following
from domains.models import DomainServer
from domains.zone_models import ZoneServer
from lumos.errors import Conflict
from servers import errands, services, wake
from servers.models import Server
from servers.peers import tell_neighbours

log = logging.getLogger(__name__)

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
    errands.ask([server], decommissioned_at=server.decommissioned_at or timezone.now(), upgrade=None)
    server.refresh_from_db()
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


def finish() -> dict[str, int]:
    """Remove the shields of all tenants whose time is over, and ask the others again."""
    found = {"asked": 0, "finished": 0}
    rows = Server.unscoped.filter(decommissioned_at__isnull=False).values_list("pk", "account_id", "decommissioned_at")
    for pk, account_id, since in rows:
        try:
            with tenant_scope(account_id), transaction.atomic():
                if since > timezone.now() - ASKED_AGAIN:
                    wake.gateways_on_commit("errand", [pk])
                    found["asked"] += 1
                elif (row := Server.objects.filter(pk=pk).first()) is not None:
                    services.forget_server(row, actor=None)
                    found["finished"] += 1
        except Exception:
            log.exception("decommissioning_not_finished", extra={"server": str(pk)})
    return found
