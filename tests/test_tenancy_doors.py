"""The tenant wall, by enumeration: a route, serializer, consumer or task without an entry here fails the suite."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from celery import current_app
from django.apps import apps
from django.db import models, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import Account, AuditEntry, Invitation, Membership, Role, User
from accounts.tenancy import TenantManager, TenantModel, TenantScopeError, tenant_scope
from billing.models import TopUp, TopUpState
from domains.failover_models import DnsProvider, Failover
from domains.zone_models import Zone, ZoneRecord
from lumos.secrets import Secret
from notifications.models import Channel, Delivery, MaintenanceWindow, Notification
from servers.models import Forward
from servers.tunnels import add_tunnel
from tests.conftest import Api
from tests.factories import Tenant, member
from waf.models import Attack, CustomRule, Event, Exclusion, Guard, ListSubscription

pytestmark = pytest.mark.django_db

# Route name -> which of a tenant's objects its id names; None for routes without an id.
PAGES: dict[str, str | None] = {
    "overview": None, "analytics": None, "analytics-csv": None, "servers": None, "server-add": None, "server": "server", "server-edit": "server",
    "server-rotate": "server", "server-remove": "server", "server-decommission": "server", "agents-upgrade": None, "domains": None, "domain-add": None, "domain": "domain",
    "domain-edit": "domain", "domain-traffic": "domain", "domain-cache-purge": "domain", "domain-preset": "domain", "domain-remove": "domain",
    "domain-failover": "domain", "failover-act": "domain", "dns-providers": None, "dns-provider-remove": "provider", "origin-check": "domain",
    "server-flood": "server", "forwards": None, "forward-add": None, "forward-edit": "forward", "forward-remove": "forward",
    "rollout-release": "domain", "zones": None, "zone": "zone", "zone-servers": "zone", "zone-remove": "zone",
    "zone-check": "zone", "zone-dnssec": "zone", "zone-file": "zone", "zone-import": "zone", "record-add": "zone", "record": "record",
    "record-remove": "record",
    "certificate-authority": None, "under-attack": None, "guard-save": "domain", "rate-add": "domain", "rate-edit": "rate", "rate-remove": "rate",
    "waf": "domain", "policy-save": "domain", "entry-add": "domain",
    "exclusion-add": "domain", "exclusion-remove": "exclusion", "waf-try": "domain",
    "waf-script": "domain", "waf-rules": "domain", "waf-rule": "rule", "waf-rule-remove": "rule",
    "entry-remove": "entry", "events": None, "events-csv": None, "event": "event", "api-keys": None, "api-key-revoke": "key",
    "domain-certificate": "domain", "domain-clone": "domain", "domain-import": None, "domain-bulk": None,
    "lists": None, "domain-lists": "domain", "list-import": "domain", "account-entry-add": None,
    "account-list-import": None, "account-subscription-add": None, "subscription-add": "domain",
    "subscription-remove": "subscription",
    "notifications": None, "notification": "notification", "delivery-resend": "delivery", "channels": None,
    "channels-matrix": None, "channel": "channel", "channel-test": "channel", "channel-ask": "channel", "channel-rotate": "channel",
    "channel-remove": "channel", "maintenance": None, "maintenance-remove": "window",
    "account": None, "account-rename": None, "account-second-factor": None, "account-export": None,
    "account-delete": None, "audit": None, "audit-csv": None,
    "team": None, "invite": None, "invitation-withdraw": "invitation", "member-role": "member", "member-remove": "member",
    "server-history": "server", "server-restore": "snapshot", "server-reunite": "server", "server-preview": "server",
    "tunnels": None, "tunnel-add": None, "tunnel-network": None, "tunnel": "tunnel", "tunnel-open-join": "tunnel",
    "tunnel-files": "tunnel", "tunnel-rotate": "tunnel", "tunnel-remove": "tunnel",
    "tunnel-shield-rotate": "tunnel-shield", "tunnel-shield-end-old": "tunnel-shield",
    "billing": None, "billing-plan": None, "top-up": None, "ledger-csv": None, "receipt": "payment",
}  # fmt: skip
POST_ONLY = {
    "forward-remove",
    "account-rename",
    "account-second-factor",
    "account-delete",
    "invite",
    "invitation-withdraw",
    "member-role",
    "member-remove",
    "delivery-resend",
    "channels-matrix",
    "channel-ask",
    "channel-test",
    "channel-rotate",
    "channel-remove",
    "maintenance-remove",
    "server-restore",
    "server-reunite",
    "failover-act",
    "origin-check",
    "dns-provider-remove",
    "server-rotate",
    "server-remove",
    "server-decommission",
    "agents-upgrade",
    "domain-cache-purge",
    "domain-preset",
    "domain-remove",
    "rollout-release",
    "zone-servers",
    "zone-remove",
    "zone-check",
    "zone-dnssec",
    "zone-import",
    "record-add",
    "record-remove",
    "domain-bulk",
    "domain-clone",
    "policy-save",
    "guard-save",
    "under-attack",
    "rate-add",
    "rate-remove",
    "list-import",
    "account-entry-add",
    "account-list-import",
    "account-subscription-add",
    "subscription-add",
    "subscription-remove",
    "entry-add",
    "entry-remove",
    "exclusion-add",
    "exclusion-remove",
    "waf-rule-remove",
    "api-key-revoke",
    "billing-plan",
    "top-up",
    "tunnel-network",
    "tunnel-open-join",
    "tunnel-rotate",
    "tunnel-remove",
    "tunnel-shield-rotate",
    "tunnel-shield-end-old",
}
# Page -> roles that get through (a viewer may read, only owners and admins see keys).
VIEWER_REFUSED = {
    "forward-add",
    "forward-edit",
    "server-flood",
    "server-add",
    "server-edit",
    "domain-add",
    "domain-edit",
    "domain-traffic",
    "domain-certificate",
    "waf-try",
    "waf-rule",
    "tunnel-add",
    "tunnel-files",
    "certificate-authority",
    "record",
    "rate-edit",
    "api-keys",
    "account-export",
    "audit",
    "audit-csv",
} | POST_ONLY
API: dict[str, str | None] = {
    "api-agent-upgrade": None, "api-server-flood": "server", "api-forward-list": None, "api-forward-detail": "forward",
    "api-server-list": None, "api-server-detail": "server", "api-server-rotate-token": "server", "api-server-decommission": "server", "api-server-reunite": "server", "api-domain-list": None,
    "api-domain-detail": "domain", "api-domain-release-rollout": "domain", "api-domain-purge-cache": "domain", "api-policy-list": None, "api-policy-detail": "policy", "api-policy-try-request": "policy",
    "api-exclusion-list": None, "api-exclusion-detail": "exclusion", "api-waf-rules": None, "api-custom-rule-list": None,
    "api-custom-rule-detail": "rule", "api-custom-rule-dry-run": None, "api-event-top": None, "api-list-entry-list": None,
    "api-list-entry-detail": "entry", "api-event-list": None, "api-event-detail": "event", "api-metric-list": None,
    "api-analytics": None, "api-server-probes": "server", "api-failover": "failing-domain", "api-failover-action": "failing-domain",
    "api-failover-plan": "failing-domain", "api-origin-check": "domain", "api-failover-decision-list": "domain", "api-dns-provider-list": None, "api-dns-provider-detail": "provider",
    "api-account": None, "api-member-list": None, "api-member-detail": "member", "api-invitation-list": None,
    "api-invitation-detail": "invitation", "api-audit-entry-list": None, "api-audit-entry-detail": "audit-entry",
    "api-key-list": None, "api-key-detail": "key", "api-server-preview": "server", "api-snapshot-list": "server",
    "api-snapshot-detail": "snapshot", "api-snapshot-diff": "snapshot", "api-snapshot-restore": "snapshot",
    "api-domain-apply-preset": "domain", "api-domain-upload-certificate": "domain", "api-domain-certificate-recipients": "domain",
    "api-domain-clone-settings": "domain", "api-guard": "domain", "api-script": "domain", "api-script-try": "domain", "api-under-attack": None, "api-certificate-authority": None, "api-config": None,
    "api-notification-list": None, "api-notification-detail": "notification", "api-channel-list": None,
    "api-channel-detail": "channel", "api-channel-test": "channel", "api-channel-ask": "channel", "api-channel-rotate-secret": "channel",
    "api-delivery-list": None, "api-delivery-detail": "delivery", "api-delivery-resend": "delivery",
    "api-maintenance-list": None, "api-maintenance-detail": "window",
    "api-list-entry-import-text": None, "api-list-subscription-list": None,
    "api-list-subscription-detail": "subscription", "api-attack-list": None, "api-attack-detail": "attack",
    "api-tunnel-list": None, "api-tunnel-detail": "tunnel", "api-tunnel-open-join": "tunnel", "api-tunnel-put-key": "tunnel",
    "api-tunnel-rotate-key": "tunnel", "api-tunnel-configuration": "tunnel", "api-tunnel-firewall": "tunnel",
    "api-tunnel-shield-list": None, "api-tunnel-shield-detail": "tunnel-shield", "api-tunnel-network": None,
    "api-tunnel-shield-rotate-key": "tunnel-shield", "api-tunnel-shield-end-old-key": "tunnel-shield",
    "api-billing": None, "api-billing-plan": None, "api-plans": None, "api-ledger-list": None,
    "api-zone-file": "zone", "api-zone-import-file": "zone", "api-zone-check-delegation": "zone", "api-zone-sign": "zone",
    "api-zone-list": None, "api-zone-detail": "zone", "api-zone-record-list": None, "api-zone-record-detail": "record",
    "api-charge-list": None, "api-top-up-list": None, "api-top-up-detail": "payment",
}  # fmt: skip
API_POST_ONLY = {
    "api-failover-action",
    "api-tunnel-open-join", "api-tunnel-put-key", "api-tunnel-rotate-key", "api-tunnel-shield-rotate-key",
    "api-tunnel-shield-end-old-key",
    "api-channel-test", "api-channel-ask", "api-channel-rotate-secret", "api-delivery-resend",
    "api-domain-release-rollout", "api-domain-purge-cache", "api-server-rotate-token", "api-server-decommission", "api-server-reunite", "api-snapshot-restore", "api-domain-clone-settings",
    "api-zone-import-file", "api-zone-check-delegation", "api-zone-sign",
    "api-script-try", "api-domain-upload-certificate", "api-domain-apply-preset", "api-policy-try-request",
}  # fmt: skip
# What belongs to a person and not to an account: tests/api/test_sign_in.py and test_team.py.
PERSONAL = {"session-end", "account-switch", "leave", "invitation"}
OPEN = PERSONAL | {
    "channel-confirm", "healthz", "readyz", "metrics", "api-schema", "api-docs", "install", "install-wheel", "payment-event",
    "tunnel-script", "tunnel-join", "tunnel-configuration", "tunnel-key", None,
}  # fmt: skip
TASKS = {
    "accounts.tasks.expire_old_rows": "all tenants, set-based",
    "notifications.tasks.route_due": "all tenants, each row in its own scope",
    "notifications.tasks.drain_channel": "a TenantTask",
    "notifications.tasks.ask_to_confirm": "a TenantTask",
    "notifications.tasks.sweep": "enqueues one job per channel, with its account",
    "notifications.tasks.hourly": "each certificate in its own account's scope; old rows of all tenants, set-based",
    "notifications.tasks.watch_servers": "each account in its own scope",
    "domains.tasks.advance_rollouts": "each row in its own tenant's scope",
    "domains.tasks.look_at_failovers": "each row in its own tenant's scope; enqueues one job per row, with its account",
    "domains.tasks.sweep_failovers": "each row in its own tenant's scope",
    "domains.tasks.publish_dns": "a TenantTask",
    "domains.tasks.check_origins": "enqueues one job per row, with its account; new rows of all tenants, set-based",
    "domains.tasks.check_origin": "a TenantTask",
    "domains.tasks.check_signed_zones": "enqueues one job per row, with its account",
    "domains.tasks.check_signed_zone": "a TenantTask",
    "waf.tasks.expire_list_entries": "each account in its own scope",
    "waf.tasks.fetch_due_subscriptions": "enqueues one job per row, with its account",
    "waf.tasks.fetch_subscription": "a TenantTask",
    "servers.tasks.expire_old_rows": "all tenants, set-based",
    "servers.tasks.expire_minutes": "all tenants, set-based",
    "servers.tasks.advance_upgrades": "each row in its own tenant's scope",
    "servers.tasks.finish_decommissions": "each row in its own tenant's scope",
    "servers.tasks.probe_servers": "probes all tenants' servers, writes in each account's scope",
    "servers.tasks.look_at_servers": "each account in its own scope",
    "lumos.tasks.watch_jobs": "no tenant's rows",
    "billing.tasks.charge_cycle": "all tenants, set-based",
    "billing.tasks.roll_up_charges": "all tenants, set-based",
    "billing.tasks.check_ledger": "all tenants, set-based",
}
CONSUMERS = {"AgentConsumer": "scope from the token", "PageConsumer": "group of the session's account", "Unknown": "-"}


def routes(patterns: list[Any], prefix: str = "") -> set[str | None]:
    """Return the names of all routes but those of the sign-in library and the operator's admin."""
    found: set[str | None] = set()
    for entry in patterns:
        if isinstance(entry, URLResolver) and str(entry.pattern) not in {"auth/", "operator/"}:
            found |= routes(entry.url_patterns, prefix)
        elif isinstance(entry, URLPattern):
            found.add(entry.name)
    return found


def tenant_models() -> list[type[TenantModel]]:
    return [model for model in apps.get_models() if issubclass(model, TenantModel)]


def ids(tenant: Tenant) -> dict[str, Any]:
    from accounts.models import ApiKey

    with tenant.scope:
        event = Event(
            server=tenant.server, domain=tenant.domain, time=tenant.domain.created_at, request_id="r", client="192.0.2.1",
            method="GET", host="h", path="/", action="block",
        )  # fmt: skip
        event.save()
        exclusion = Exclusion(domain=tenant.domain, rule="sqli")
        exclusion.save()
        rule = CustomRule(domain=tenant.domain, position=0, name="r", expression='path eq "/"', action="log")
        rule.save()
        attack = Attack(
            server=tenant.server, domain=tenant.domain, began_at=event.time, told_at=event.time, reason="requests"
        )
        attack.save()
        Guard(domain=tenant.domain, settings={"rates": [{"id": "any", "requests": 9}]}).save()
        invitation = Invitation(email="new@example.com", role="viewer", token_hash=str(tenant.account.pk))
        invitation.expires_at = event.time
        invitation.save()
        subscription = ListSubscription(kind="deny", url="https://lists.example/", next_fetch_at=event.time)
        subscription.save()
        channel = Channel(kind="webhook", name=f"{tenant.owner.name} hook", target="https://hooks.example/")
        channel.save()
        note = Notification(kind="test", key="k", title=f"{tenant.owner.name} test", state="routed")
        note.save()
        later = event.time + timedelta(hours=1)
        delivery = Delivery(notification=note, channel=channel, next_at=later, expires_at=later)
        delivery.save()
        window = MaintenanceWindow(starts_at=event.time, ends_at=later, note=f"{tenant.owner.name} window")
        window.save()
        secret: Any = Secret.of("t")
        name = f"{tenant.owner.name} dns"
        provider = DnsProvider(kind="cloudflare", name=name, zone=tenant.domain.hostname, credential=secret)
        provider.save()
        Failover(domain=tenant.domain).save()
        forward = Forward(server=tenant.server, name="game", port=27015, target="203.0.113.7", target_port=27015)
        forward.save()
        payment = TopUp(provider="stripe", amount_microcredits=1, currency="eur", state=TopUpState.PAID)
        payment.save()
        zone = Zone.objects.create(name=tenant.domain.hostname)
        record = ZoneRecord.objects.create(zone=zone, name="www", type="A", data="192.0.2.1")
        tunnel, _ = add_tunnel(name=f"{tenant.owner.name}-web".lower(), actor=tenant.owner)
        return {
            "zone": zone.pk, "record": record.pk, "tunnel": tunnel.pk, "tunnel-shield": tenant.server.tunnel_end.pk,
            "channel": channel.pk, "notification": note.pk, "delivery": delivery.pk, "window": window.pk,
            "subscription": subscription.pk,
            "payment": payment.pk, "forward": forward.pk, "provider": provider.pk, "failing-domain": tenant.domain.pk,
            "invitation": invitation.pk,
            "audit-entry": AuditEntry.objects.all()[0].pk,
            "member": member(tenant.account, f"{tenant.owner.name}-colleague".lower(), Role.VIEWER).pk,
            "attack": attack.pk,
            "server": tenant.server.pk, "domain": tenant.domain.pk, "policy": tenant.domain.policy.pk,
            "entry": tenant.entry.pk, "event": event.pk, "exclusion": exclusion.pk, "rule": rule.pk, "key": ApiKey.objects.get(name="ci").pk,
            "rate": (tenant.domain.pk, "any"),
            "snapshot": (tenant.server.pk, tenant.server.revision),
        }  # fmt: skip


def address(name: str, what: str | None, objects: dict[str, Any]) -> str:
    """Return the path of a route that names one of a tenant's objects."""
    found = objects[what] if what else ()
    return reverse(name, args=found if isinstance(found, tuple) else [found])


@contextmanager
def undone() -> Iterator[None]:
    """Take back what a call changes, so that the next one finds the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def readable(answer: Any) -> str:
    """Return the text of an answer, of an archive the text of all its files."""
    data = answer.getvalue()
    if answer.headers.get("content-type") != "application/zip":
        return str(data.decode())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return "".join(archive.read(name).decode() for name in archive.namelist())


def test_every_route_has_an_entry() -> None:
    assert routes(get_resolver().url_patterns) - OPEN == set(PAGES) | set(API)


def test_every_task_and_consumer_has_an_entry() -> None:
    from servers import consumers, routing

    current_app.loader.import_default_modules()
    own = {name for name in current_app.tasks if not name.startswith("celery.")}
    assert own == set(TASKS)
    assert {route.callback.consumer_class.__name__ for route in routing.agent_routes + routing.page_routes} == set(
        CONSUMERS
    )
    assert consumers.AgentConsumer.channel_layer_alias == "none"


def test_every_tenant_model_is_scoped_and_fails_closed() -> None:
    for model in tenant_models():
        assert isinstance(model._default_manager, TenantManager)
        with pytest.raises(TenantScopeError):
            list(model._default_manager.all())


def test_every_model_with_an_account_is_a_tenant_model() -> None:
    """Memberships decide which scope a person may open, and so have none themselves."""
    with_account = {
        model
        for model in apps.get_models()
        if any(isinstance(field, models.ForeignKey) and field.related_model is Account for field in model._meta.fields)
    }
    assert {model for model in with_account if not issubclass(model, TenantModel)} == {Membership}


def test_pages_of_another_tenant_are_404(alice: Tenant, mallory: Tenant, signed_in: Any) -> None:
    client, objects, wrong = signed_in(mallory.owner), ids(alice), []
    for name, what in PAGES.items():
        for call in (client.get, client.post)[name in POST_ONLY :] if what else ():
            with undone():
                status = call(address(name, what, objects)).status_code
            if status != 404:
                wrong.append((name, call.__name__, status))
    assert wrong == []


def test_api_objects_of_another_tenant_are_404(alice: Tenant, mallory: Tenant) -> None:
    api, objects, wrong = Api(mallory.api_key), ids(alice), []
    for (name, what), method in product(API.items(), ("GET", "POST", "PATCH", "DELETE", "PUT")):
        if what:
            with undone():
                status = api.call(method, address(name, what, objects)[len("/api/v1") :], {}).status_code
            is_there = method == ("POST" if name in API_POST_ONLY else "GET")
            if status != 404 and (is_there or status != 405):
                wrong.append((name, method, status))
    assert wrong == []


def test_api_lists_show_nothing_of_another_tenant(alice: Tenant, mallory: Tenant) -> None:
    api, own, foreign = Api(mallory.api_key), ids(mallory), ids(alice)
    texts = {name: api.get(reverse(name)[len("/api/v1") :]).content.decode() for name, what in API.items() if not what}
    assert [name for name, text in texts.items() if any(str(pk) in text for pk in foreign.values())] == []
    assert str(own["domain"]) in texts["api-domain-list"]


def test_pages_show_nothing_of_another_tenant(alice: Tenant, mallory: Tenant, signed_in: Any) -> None:
    client, own, wrong = signed_in(mallory.owner), ids(mallory), []
    ids(alice)
    for name, what in PAGES.items():
        with undone():
            if name not in POST_ONLY and "alice" in readable(client.get(address(name, what, own))):
                wrong.append(name)
    assert wrong == []


def test_pages_by_role(alice: Tenant, bob: User, signed_in: Any) -> None:
    viewer, visitor, objects, wrong = signed_in(bob), Client(), ids(alice), []
    for name, what in PAGES.items():
        url = address(name, what, objects)
        tried = [(visitor, "post" if name in POST_ONLY else "get", 302)]
        tried += [(viewer, "post" if name in POST_ONLY else "get", 403 if name in VIEWER_REFUSED else 200)]
        tried += [] if name in POST_ONLY else [(viewer, "post", 403)]
        for client, method, expected in tried:
            with undone():
                status = getattr(client, method)(url).status_code
            if status != expected:
                wrong.append((name, method, "viewer" if client is viewer else "visitor", status))
    assert wrong == []


def test_api_by_role(alice: Tenant, bob: User, signed_in: Any, settings: Any) -> None:
    limits = settings.LIMITS_PREFIX
    strangers = Client(), Client(headers={"authorization": "Bearer lmsk_" + "0" * 64})
    viewer, objects, wrong = signed_in(bob), ids(alice), []
    for name, what in API.items():
        url = address(name, what, objects)
        settings.LIMITS_PREFIX = f"{limits}:{name}"  # strangers may not try that often
        wrong += [(name, "stranger") for client in strangers if client.get(url).status_code != 401]
        for call in (viewer.post, viewer.patch, viewer.delete):
            with undone():
                status = call(url, {}, content_type="application/json").status_code
            if status not in {403, 405}:
                wrong.append((name, call.__name__))
    assert wrong == []


def test_a_key_never_exceeds_its_creators_role(api: Api, alice: Tenant) -> None:
    Membership.objects.filter(user=alice.owner).update(role="viewer")
    assert api.get("/domains").status_code == 200
    assert api.delete(f"/domains/{alice.domain.pk}").status_code == 403
    Membership.objects.filter(user=alice.owner).delete()
    assert api.get("/domains").status_code == 401


def test_saving_a_child_of_another_tenants_parent_raises(alice: Tenant, mallory: Tenant) -> None:
    from domains.models import Origin, OriginHealth

    with mallory.scope, pytest.raises(TenantScopeError):
        Origin(domain=alice.domain, position=0, address="10.0.0.1", port=1).save()
    with mallory.scope, pytest.raises(TenantScopeError):
        alice.server.save()
    with alice.scope:
        origin = Origin.objects.get()
    with mallory.scope, pytest.raises(TenantScopeError):
        OriginHealth(server=mallory.server, origin=origin, state="up", since=alice.domain.created_at).save()


def test_scope_ends_with_its_block_even_when_nested(alice: Tenant, mallory: Tenant) -> None:
    from accounts.tenancy import active_account_id

    with alice.scope:
        with tenant_scope(mallory.account.pk):
            assert active_account_id() == mallory.account.pk
        assert active_account_id() == alice.account.pk
    with pytest.raises(TenantScopeError):
        active_account_id()


def test_every_foreign_key_of_the_api_is_scoped() -> None:
    from rest_framework import serializers

    from domains.serializers import CloneSerializer, DomainSerializer
    from notifications.serializers import MaintenanceSerializer
    from waf.serializers import CustomRuleSerializer, DryRunRequestSerializer, ExclusionSerializer, ListEntrySerializer

    for serializer in (
        DomainSerializer,
        ListEntrySerializer,
        ExclusionSerializer,
        CustomRuleSerializer,
        DryRunRequestSerializer,
        CloneSerializer,
        MaintenanceSerializer,
    ):
        for field in serializer().fields.values():
            related = getattr(field, "child_relation", field)
            if isinstance(related, serializers.PrimaryKeyRelatedField) and not field.read_only:
                with pytest.raises(TenantScopeError):
                    related.get_queryset()


def test_tenant_rows_carry_their_account() -> None:
    for model in tenant_models():
        field = model._meta.get_field("account")
        assert isinstance(field, models.ForeignKey)
        assert not field.null
