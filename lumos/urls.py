"""Routes. The gateway role serves health and agents that poll; the web role pages and API."""

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from accounts.api import ApiKeyViewSet
from accounts.team_api import AccountView, AuditEntryViewSet, InvitationViewSet, MemberViewSet
from billing.api import BillingView, ChargeViewSet, LedgerViewSet, PlanListView, PlanViewSet, TopUpViewSet
from domains.api import DomainViewSet
from domains.authority_api import AuthorityView
from domains.config_api import ConfigView
from domains.failover_api import DecisionViewSet, FailoverActionView, FailoverPlanView, FailoverView, ProviderViewSet
from domains.leak_api import OriginCheckView
from domains.zone_api import RecordViewSet, ZoneViewSet
from lumos.api import unknown_path
from lumos.health import healthz, readyz
from lumos.metrics import metrics
from notifications.api import ChannelViewSet, DeliveryViewSet, MaintenanceViewSet, NotificationViewSet
from servers.analytics_api import AnalyticsView
from servers.api import MetricViewSet, ServerViewSet, SnapshotViewSet
from servers.flood_api import FloodView
from servers.forward_api import ForwardViewSet
from servers.polls import poll
from servers.tunnel_api import TunnelNetworkView, TunnelShieldViewSet, TunnelViewSet
from servers.upgrade_api import AgentUpgradeView
from waf.api import (
    CustomRuleViewSet,
    EventViewSet,
    ExclusionViewSet,
    ListEntryViewSet,
    PolicyViewSet,
    RuleCatalogueView,
    SubscriptionViewSet,
)
from waf.attack_api import AttackViewSet
from waf.guard_api import GuardView, UnderAttackView
from waf.script_api import ScriptTrialView, ScriptView

# The API browser brings its page's few style rules inline.
INLINE_STYLE = {"style-src": ["'unsafe-inline'"]}

router = SimpleRouter(trailing_slash=False)
router.register("servers", ServerViewSet, "api-server")
router.register("servers/(?P<server_pk>[0-9a-f-]{36})/snapshots", SnapshotViewSet, "api-snapshot")
router.register("tunnels", TunnelViewSet, "api-tunnel")
router.register("tunnel-shields", TunnelShieldViewSet, "api-tunnel-shield")
router.register("forwards", ForwardViewSet, "api-forward")
router.register("domains", DomainViewSet, "api-domain")
router.register("zones", ZoneViewSet, "api-zone")
router.register("zone-records", RecordViewSet, "api-zone-record")
router.register("domains/(?P<domain_pk>[0-9a-f-]{36})/failover/decisions", DecisionViewSet, "api-failover-decision")
router.register("dns-providers", ProviderViewSet, "api-dns-provider")
router.register("policies", PolicyViewSet, "api-policy")
router.register("exclusions", ExclusionViewSet, "api-exclusion")
router.register("custom-rules", CustomRuleViewSet, "api-custom-rule")
router.register("ip-lists", ListEntryViewSet, "api-list-entry")
router.register("list-subscriptions", SubscriptionViewSet, "api-list-subscription")
router.register("events", EventViewSet, "api-event")
router.register("attacks", AttackViewSet, "api-attack")
router.register("metrics", MetricViewSet, "api-metric")
router.register("notifications", NotificationViewSet, "api-notification")
router.register("notification-channels", ChannelViewSet, "api-channel")
router.register("notification-deliveries", DeliveryViewSet, "api-delivery")
router.register("maintenance-windows", MaintenanceViewSet, "api-maintenance")
router.register("api-keys", ApiKeyViewSet, "api-key")
router.register("ledger", LedgerViewSet, "api-ledger")
router.register("charges", ChargeViewSet, "api-charge")
router.register("top-ups", TopUpViewSet, "api-top-up")
router.register("members", MemberViewSet, "api-member")
router.register("invitations", InvitationViewSet, "api-invitation")
router.register("audit-entries", AuditEntryViewSet, "api-audit-entry")

health: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
gateway: list[URLPattern | URLResolver] = [path("agent/v1/poll", poll, name="agent-poll")]
web: list[URLPattern | URLResolver] = [
    path("api/v1/", include(router.urls)),
    path("api/v1/account", AccountView.as_view(), name="api-account"),
    path("api/v1/agent-upgrade", AgentUpgradeView.as_view(), name="api-agent-upgrade"),
    path("api/v1/tunnel-network", TunnelNetworkView.as_view(), name="api-tunnel-network"),
    path("api/v1/under-attack", UnderAttackView.as_view(), name="api-under-attack"),
    path("api/v1/domains/<uuid:pk>/guard", GuardView.as_view(), name="api-guard"),
    path("api/v1/domains/<uuid:pk>/failover", FailoverView.as_view(), name="api-failover"),
    path("api/v1/domains/<uuid:pk>/failover/actions", FailoverActionView.as_view(), name="api-failover-action"),
    path("api/v1/domains/<uuid:pk>/failover/plan", FailoverPlanView.as_view(), name="api-failover-plan"),
    path("api/v1/domains/<uuid:pk>/origin-check", OriginCheckView.as_view(), name="api-origin-check"),
    path("api/v1/servers/<uuid:pk>/flood-protection", FloodView.as_view(), name="api-server-flood"),
    path("api/v1/certificate-authority", AuthorityView.as_view(), name="api-certificate-authority"),
    path("api/v1/domains/<uuid:pk>/script", ScriptView.as_view(), name="api-script"),
    path("api/v1/domains/<uuid:pk>/script/try", ScriptTrialView.as_view(), name="api-script-try"),
    path("api/v1/billing", BillingView.as_view(), name="api-billing"),
    path("api/v1/billing/plan", PlanViewSet.as_view({"put": "update"}), name="api-billing-plan"),
    path("api/v1/plans", PlanListView.as_view(), name="api-plans"),
    path("api/v1/config", ConfigView.as_view(), name="api-config"),
    path("api/v1/analytics", AnalyticsView.as_view(), name="api-analytics"),
    path("api/v1/waf-rules", RuleCatalogueView.as_view(), name="api-waf-rules"),
    path("api/v1/schema", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "api/v1/docs",
        csp_update(INLINE_STYLE)(SpectacularSwaggerSplitView.as_view(url_name="api-schema")),
        name="api-docs",
    ),
    re_path(r"^api/v1/(?P<path>[\s\S]*)$", unknown_path),
    path("auth/", include("allauth.urls")),
    path("operator/", admin.site.urls),
    path("", include("lumos.pages")),
]
handler500 = "lumos.api.broken"
urlpatterns = health + gateway if settings.LUMOS_ROLE == "gateway" else health + web
