"""Rows -> the configuration of the account in scope; equal configurations give equal states, whatever their ids."""

import ipaddress
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from django.db.models import Q

from domains import traffic
from domains.acme import authority
from domains.config_document import canonical_address, in_order
from domains.config_states import (
    AccountSettings,
    AccountState,
    ChannelState,
    DomainState,
    ServerState,
    TunnelState,
    ZoneState,
)
from domains.failover_models import Failover
from domains.failover_weights import weights_by_name
from domains.models import Domain, DomainServer, Origin
from domains.zone_models import Zone, ZoneRecord, ZoneServer
from domains.zones import FIELDS
from lumos_agent.document import (
    ConfigAuthority,
    ConfigExclusion,
    ConfigFailover,
    ConfigFlood,
    ConfigForward,
    ConfigListEntry,
    ConfigLists,
    ConfigOrigin,
    ConfigOwnChannel,
    ConfigPolicy,
    ConfigRecord,
    ConfigScript,
    ConfigSubscription,
    ConfigTunnelNetwork,
)
from lumos_agent.guard import Guard
from lumos_agent.schema import Script
from notifications.models import Channel
from servers.forward_parts import flood_settings
from servers.models import Forward, Server, Tunnel, TunnelNetwork
from waf.compiler import guard_parts, is_under_attack, script_parts
from waf.custom_rules import document_rules
from waf.models import Exclusion, ListEntry, ListKind, ListSubscription, Policy

_ORIGIN = ("address", "port", "weight", "backup", "enabled", "tls")
_EXCLUSION = ("rule", "path", "parameter", "note")


def account_state() -> AccountState:
    """Return servers and domains of the account, in a constant number of queries."""
    forwards = _forwards()
    servers = sorted((_server(row, forwards) for row in Server.objects.all()), key=lambda server: server.name)
    channels = _channels()
    domains = sorted(domain_states(Domain.objects.all()), key=lambda domain: domain.hostname)
    return AccountState(
        settings=_settings(channels.pop(None, ConfigOwnChannel())),
        servers={s.name: s for s in servers},
        domains={d.hostname: d for d in domains},
        zones={zone.name: zone for zone in zone_states()},
        tunnels={
            name: TunnelState(name=name) for name in Tunnel.objects.order_by("name").values_list("name", flat=True)
        },
        channels=channels,
    )


def _settings(own_channel: ConfigOwnChannel) -> AccountSettings:
    ca, network = authority(), TunnelNetwork.objects.first()
    chosen = None if ca is None else {name: getattr(ca, name) for name in ConfigAuthority.__struct_fields__}
    return AccountSettings(
        under_attack=is_under_attack(),
        lists=_lists(None).get(None, ConfigLists()),
        subscriptions=_subscriptions(None).get(None, ()),
        certificate_authority=None if chosen is None else ConfigAuthority(**chosen),
        tunnel_network=None if network is None else ConfigTunnelNetwork(network=network.network, mtu=network.mtu),
        own_channel=own_channel,
    )


def _channels() -> dict[Any, Any]:
    """Return {name: state}; the account's own channel is named None."""
    found: dict[Any, Any] = {}
    for row in Channel.objects.order_by("name"):
        values = {"choices": dict(sorted(row.choices.items())), "digest": row.digest, "enabled": row.enabled}
        if row.is_default:
            found[None] = ConfigOwnChannel(**values)
        else:
            found[row.name] = ChannelState(name=row.name, kind=row.kind, target=row.target, **values)
    return found


def _forwards() -> dict[Any, list[ConfigForward]]:
    found: defaultdict[Any, list[ConfigForward]] = defaultdict(list)
    names = ConfigForward.__struct_fields__
    for row in Forward.objects.order_by("protocol", "port").values("server_id", *names):
        found[row.pop("server_id")].append(ConfigForward(**row))
    return found


def _subscriptions(domain_ids: Any) -> dict[Any, tuple[ConfigSubscription, ...]]:
    """Return {domain id: subscriptions}; `domain_ids` None stands for those of all domains, named None."""
    scope = Q(domain=None) if domain_ids is None else Q(domain_id__in=domain_ids)
    found: defaultdict[Any, tuple[ConfigSubscription, ...]] = defaultdict(tuple)
    rows = ListSubscription.objects.filter(scope).order_by("kind", "url", "pk")
    for domain_id, kind, url, hours in rows.values_list("domain_id", "kind", "url", "interval_hours"):
        if (one := ConfigSubscription(kind=kind, url=url, interval_hours=hours)) not in found[domain_id]:
            found[domain_id] += (one,)
    return found


def zone_states() -> list[ZoneState]:
    """Return the zones of the account by name."""
    servers: defaultdict[Any, list[str]] = defaultdict(list)
    for zone_id, name in ZoneServer.objects.order_by("number").values_list("zone_id", "server__name"):
        servers[zone_id].append(name)
    records: defaultdict[Any, list[ConfigRecord]] = defaultdict(list)
    for zone_id, server, *values in ZoneRecord.objects.values_list("zone_id", "server__name", *FIELDS):
        columns = dict(zip(FIELDS, values, strict=True))
        records[zone_id].append(ConfigRecord(**columns, server=server or ""))
    return [
        ZoneState(
            name=zone.name,
            servers=tuple(servers[zone.pk]),
            dnssec=zone.dnssec,
            records=in_order(records[zone.pk]),
        )
        for zone in Zone.objects.order_by("name")
    ]


def _server(row: Server, forwards: Mapping[Any, Sequence[ConfigForward]]) -> ServerState:
    return ServerState(
        name=row.name,
        region=row.region,
        public_ipv4=canonical_address(row.public_ipv4, ipaddress.IPv4Address),
        public_ipv6=canonical_address(row.public_ipv6, ipaddress.IPv6Address),
        flood=ConfigFlood(**flood_settings(row)),
        forwards=tuple(forwards.get(row.pk, ())),
    )


def domain_states(rows: Any) -> list[DomainState]:
    """Return the states of domains, given as a query of them."""
    ids = rows.values("pk")
    origins: defaultdict[Any, list[ConfigOrigin]] = defaultdict(list)
    for origin in Origin.objects.filter(domain_id__in=ids).order_by("position", "pk").values("domain_id", *_ORIGIN):
        origins[origin.pop("domain_id")].append(ConfigOrigin(**origin))
    servers: defaultdict[Any, list[str]] = defaultdict(list)
    carried = DomainServer.objects.filter(domain_id__in=ids).order_by("position", "pk")
    for domain_id, name in carried.values_list("domain_id", "server__name"):
        servers[domain_id].append(name)
    policies, failovers = _policies(ids), _failovers(ids)
    subscriptions = _subscriptions(ids)
    lists, guards, scripts = _lists(ids), guard_parts(ids), script_parts(ids)
    return [
        DomainState(
            hostname=row.hostname,
            origins=tuple(origins[row.pk]),
            servers=tuple(servers[row.pk]),
            traffic=traffic.portable(row.traffic),
            certificate=row.certificate,
            rollout=row.rollout,
            policy=policies[row.pk],
            guard=traffic.plain(guards.get(row.pk, Guard())),
            script=_script(scripts.get(row.pk, Script())),
            lists=lists.get(row.pk, ConfigLists()),
            subscriptions=subscriptions.get(row.pk, ()),
            failover=failovers.get(row.pk),
        )
        for row in rows
    ]


def _failovers(domain_ids: Any) -> dict[Any, ConfigFailover]:
    rows = Failover.objects.filter(domain_id__in=domain_ids).select_related("provider")
    weights = weights_by_name(rows)
    return {
        row.domain_id: ConfigFailover(
            mode=cast(Literal["ordered", "all", "weighted"], row.mode),
            weights=weights.get(row.domain_id, {}),
            hold_down_seconds=row.hold_down_seconds,
            gap_seconds=row.gap_seconds,
            provider=row.provider.name if row.provider else "",
            ttl=row.ttl,
        )
        for row in rows
    }


def _script(part: Script) -> ConfigScript:
    return ConfigScript(mode=part.mode, fails=part.fails, source=part.source)


def _policies(domain_ids: Any) -> dict[Any, ConfigPolicy]:
    excluded: defaultdict[Any, list[ConfigExclusion]] = defaultdict(list)
    exclusions = Exclusion.objects.filter(domain_id__in=domain_ids).order_by()
    for domain_id, *values in sorted(exclusions.values_list("domain_id", *_EXCLUSION)):
        excluded[domain_id].append(ConfigExclusion(**dict(zip(_EXCLUSION, values, strict=True))))
    custom = document_rules(domain_ids)
    return {
        row.domain_id: ConfigPolicy(
            mode=row.mode,
            level=row.level,
            groups=row.groups,
            exclusions=tuple(excluded[row.domain_id]),
            custom=custom.get(row.domain_id, ()),
        )
        for row in Policy.objects.filter(domain_id__in=domain_ids)
    }


def _lists(domain_ids: Any) -> dict[Any, ConfigLists]:
    """Return {domain id: lasting entries}; `domain_ids` None stands for the lists of all domains, named None."""
    scope = Q(domain=None) if domain_ids is None else Q(domain_id__in=domain_ids)
    found: defaultdict[Any, dict[str, list[ConfigListEntry]]] = defaultdict(lambda: {k: [] for k in ListKind.values})
    lasting = ListEntry.objects.filter(scope, subscription=None, expires_at=None)
    rows = lasting.values_list("domain_id", "kind", "network", "note")
    for domain_id, kind, network, note in rows:
        found[domain_id][kind].append(ConfigListEntry(network=network, note=note))
    return {
        domain_id: ConfigLists(**{kind: tuple(sorted(of, key=lambda e: e.network)) for kind, of in by_kind.items()})
        for domain_id, by_kind in found.items()
    }
