"""Zones follow what their answers depend on: the servers of domains, and the addresses of servers."""

from collections.abc import Iterable, Sequence

from django.db.models import F

from accounts.models import AuditEntry
from domains.zone_models import RecordType, Zone, ZoneRecord, ZoneServer
from lumos.errors import Conflict
from servers import revisions
from servers.models import Server


def zones_with(*, hostnames: Iterable[str] = (), servers: Iterable[Server] = ()) -> list[Zone]:
    """Return the zones whose answers depend on these domains, or on the addresses of these servers."""
    names, server_ids = set(hostnames), {server.pk for server in servers}
    found = set(ZoneServer.objects.filter(server__in=server_ids).values_list("zone_id", flat=True))
    proxied = ZoneRecord.objects.filter(type=RecordType.PROXIED).values_list("zone_id", "zone__name").distinct()
    for zone_id, zone_name in proxied.order_by():
        if server_ids or any(name == "*" or f".{name}".endswith(f".{zone_name}") for name in names):
            found.add(zone_id)
    return list(Zone.objects.filter(pk__in=found))


def follow(zones: Sequence[Zone], *, cause: AuditEntry) -> None:
    """Give zones new serials after a change elsewhere that their answers depend on."""
    locked = Zone.objects.select_for_update(no_key=True).filter(pk__in=[zone.pk for zone in zones]).order_by("pk")
    if rows := list(locked):
        raise_serials(rows)
        revisions.bump(Server.objects.filter(nameservers__zone__in=rows).distinct(), cause=cause)


def follow_domains(*hostnames: str, cause: AuditEntry) -> None:
    """Give zones new serials that answer with the shields of these domains."""
    follow(zones_with(hostnames=hostnames), cause=cause)


def refuse_without_address(server: Server) -> None:
    """Raise if a zone has a name server without any address.

    Raises:
        Conflict: it names such a zone.
    """
    if server.public_ipv4 or server.public_ipv6:
        return
    if zone := Zone.objects.filter(nameservers__server=server).first():
        raise Conflict(f"This server answers for the zone {zone.name} and needs a public address.")


def refuse_only_server(server: Server) -> None:
    """Raise if a zone would be left without a server.

    Raises:
        Conflict: it names such zones.
    """
    zones = Zone.objects.filter(nameservers__server=server).prefetch_related("nameservers")
    if alone := [zone.name for zone in zones if not _others_named(zone, server)]:
        raise Conflict(f"Only this server answers for the zone {alone[0]}. Give it another server or remove it first.")


def _others_named(zone: Zone, server: Server) -> bool:
    """Whether visitors find a zone without this server; of a signed zone some may be named to nobody yet."""
    return any(row.is_listed for row in zone.nameservers.all() if row.server_id != server.pk)


def raise_serials(zones: Sequence[Zone]) -> None:
    """Give zones new serials; their rows are locked."""
    Zone.objects.filter(pk__in=[zone.pk for zone in zones]).update(serial=F("serial") + 1)
