"""Audit entries, written in the transaction of the change that they describe."""

import enum
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import models

from accounts.models import AuditEntry, User


class Action(enum.StrEnum):
    """Every kind of change."""

    SERVER_ADDED = "server.added"
    SERVER_CHANGED = "server.changed"
    SERVER_REMOVED = "server.removed"
    SERVER_DECOMMISSIONED = "server.decommissioned"
    SERVER_RESTORED = "server.restored"
    SERVER_REUNITED = "server.reunited"
    AGENT_UPGRADE_STARTED = "account.agent_upgrade_started"
    AGENT_UPGRADE_STOPPED = "account.agent_upgrade_stopped"
    FORWARD_ADDED = "forward.added"
    FORWARD_CHANGED = "forward.changed"
    FORWARD_REMOVED = "forward.removed"
    FLOOD_CHANGED = "server.flood_changed"
    TOKEN_ROTATED = "server.token_rotated"  # noqa: S105 - an action's name
    TUNNEL_ADDED = "tunnel.added"
    TUNNEL_REMOVED = "tunnel.removed"
    TUNNEL_JOIN_OPENED = "tunnel.join_opened"
    TUNNEL_JOINED = "tunnel.joined"
    TUNNEL_KEY_CHANGED = "tunnel.key_changed"
    TUNNEL_NETWORK_CHANGED = "account.tunnel_network_changed"
    TUNNEL_SHIELD_CHANGED = "server.tunnel_changed"
    DOMAIN_ADDED = "domain.added"
    DOMAIN_CHANGED = "domain.changed"
    DOMAIN_REMOVED = "domain.removed"
    AUTHORITY_CHANGED = "account.certificate_authority_changed"
    CERTIFICATE_UPLOADED = "domain.certificate_uploaded"
    FAILOVER_CHANGED = "domain.failover_changed"
    FAILOVER_DECIDED = "domain.failover_decided"
    SERVER_JUDGED = "server.judged"
    FAILOVER_ACTED = "domain.failover_acted"
    FAILOVER_ADOPTED = "domain.failover_records_adopted"
    ORIGIN_CHECK_ASKED = "domain.origin_check_asked"
    DNS_PROVIDER_ADDED = "dns_provider.added"
    DNS_PROVIDER_REMOVED = "dns_provider.removed"
    ROLLOUT_RELEASED = "domain.rollout_released"
    POLICY_CHANGED = "policy.changed"
    GUARD_CHANGED = "guard.changed"
    SCRIPT_CHANGED = "script.changed"
    UNDER_ATTACK_CHANGED = "account.under_attack_changed"
    CUSTOM_RULE_ADDED = "custom_rule.added"
    CUSTOM_RULE_CHANGED = "custom_rule.changed"
    CUSTOM_RULE_REMOVED = "custom_rule.removed"
    CUSTOM_RULES_REPLACED = "custom_rules.replaced"
    EXCLUSION_ADDED = "exclusion.added"
    EXCLUSION_REMOVED = "exclusion.removed"
    EXCLUSIONS_REPLACED = "exclusions.replaced"
    LIST_ENTRY_ADDED = "list_entry.added"
    LIST_ENTRY_REMOVED = "list_entry.removed"
    LISTS_REPLACED = "lists.replaced"
    LIST_IMPORTED = "list.imported"
    LIST_EXPIRED = "list.expired"
    SUBSCRIPTION_ADDED = "subscription.added"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    SUBSCRIPTION_REMOVED = "subscription.removed"
    SUBSCRIPTION_FETCHED = "subscription.fetched"
    CDN_NETWORKS_CHANGED = "cdn.networks_changed"
    BAN_SHARED = "ban.shared"
    ZONE_ADDED = "zone.added"
    ZONE_CHANGED = "zone.changed"
    ZONE_REMOVED = "zone.removed"
    RECORD_ADDED = "zone.record_added"
    RECORD_CHANGED = "zone.record_changed"
    RECORD_REMOVED = "zone.record_removed"
    RECORDS_REPLACED = "zone.records_replaced"
    CONFIG_IMPORTED = "config.imported"
    CHANNEL_ADDED = "channel.added"
    CHANNEL_ASKED = "channel.asked"
    CHANNEL_CHANGED = "channel.changed"
    CHANNEL_CONFIRMED = "channel.confirmed"
    CHANNEL_DISABLED = "channel.disabled"
    CHANNEL_REMOVED = "channel.removed"
    CHANNEL_SECRET_ROTATED = "channel.secret_rotated"  # noqa: S105 - an action's name
    MAINTENANCE_ADDED = "maintenance.added"
    MAINTENANCE_REMOVED = "maintenance.removed"
    SETTINGS_CLONED = "domain.settings_cloned"
    PLAN_CHANGED = "account.plan_changed"
    CREDITS_GRANTED = "account.credits_granted"
    TOP_UP_STARTED = "account.top_up_started"
    TOP_UP_REFUNDED = "account.top_up_refunded"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    ACCOUNT_CHANGED = "account.changed"
    MEMBER_INVITED = "member.invited"
    INVITATION_WITHDRAWN = "member.invitation_withdrawn"
    MEMBER_JOINED = "member.joined"
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a request came from: client address and means ("session", "key lmsk_1234567")."""

    address: str | None = None
    via: str = ""


_NOWHERE = Source()
source: ContextVar[Source] = ContextVar("audit_source", default=_NOWHERE)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return {field: [before, after]} of the fields that differ."""
    return {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}


def record(
    actor: User | None, action: Action, target: models.Model, changed: Mapping[str, list[Any]] | None = None
) -> AuditEntry:
    """Write one entry about `target`; without an actor it is Lumos that acted."""
    origin = source.get()
    entry: AuditEntry = AuditEntry.objects.create(
        actor=actor,
        via=origin.via,
        address=origin.address,
        action=action,
        object_type=target._meta.label_lower,
        object_id=str(target.pk),
        object_label=str(target)[:255],
        changes=dict(changed or {}),
    )
    return entry
