"""Routes of the dashboard."""

from django.urls import path

from accounts import views as accounts
from domains import config_views
from domains import views as domains
from lumos import views as lumos
from servers import install
from servers import views as servers
from waf import views as waf

urlpatterns = [
    path("", lumos.overview, name="overview"),
    path("install", install.script, name="install"),
    path("install/<str:name>", install.wheel_file, name="install-wheel"),
    path("servers", servers.server_list, name="servers"),
    path("servers/add", servers.server_add, name="server-add"),
    path("servers/<uuid:pk>", servers.server_detail, name="server"),
    path("servers/<uuid:pk>/edit", servers.server_edit, name="server-edit"),
    path("servers/<uuid:pk>/rotate-token", servers.server_rotate, name="server-rotate"),
    path("servers/<uuid:pk>/remove", servers.server_remove, name="server-remove"),
    path("servers/<uuid:pk>/history", servers.server_history, name="server-history"),
    path("servers/<uuid:pk>/history/<int:revision>/restore", servers.server_restore, name="server-restore"),
    path("servers/<uuid:pk>/preview", servers.server_preview, name="server-preview"),
    path("domains", domains.domain_list, name="domains"),
    path("domains/add", domains.domain_add, name="domain-add"),
    path("domains/import", config_views.domain_import, name="domain-import"),
    path("domains/import/bulk", config_views.domain_bulk, name="domain-bulk"),
    path("domains/<uuid:pk>", domains.domain_detail, name="domain"),
    path("domains/<uuid:pk>/edit", domains.domain_edit, name="domain-edit"),
    path("domains/<uuid:pk>/traffic", domains.domain_traffic, name="domain-traffic"),
    path("domains/<uuid:pk>/certificate", domains.domain_certificate, name="domain-certificate"),
    path("domains/<uuid:pk>/traffic/preset", domains.domain_preset, name="domain-preset"),
    path("domains/<uuid:pk>/traffic/purge", domains.domain_cache_purge, name="domain-cache-purge"),
    path("domains/<uuid:pk>/release", domains.rollout_release, name="rollout-release"),
    path("domains/<uuid:pk>/clone-settings", domains.domain_clone, name="domain-clone"),
    path("domains/<uuid:pk>/remove", domains.domain_remove, name="domain-remove"),
    path("domains/<uuid:pk>/waf", waf.waf_detail, name="waf"),
    path("domains/<uuid:pk>/waf/policy", waf.policy_save, name="policy-save"),
    path("domains/<uuid:pk>/waf/entries", waf.entry_add, name="entry-add"),
    path("waf/entries/<uuid:pk>/remove", waf.entry_remove, name="entry-remove"),
    path("events", waf.event_list, name="events"),
    path("api-keys", accounts.api_key_list, name="api-keys"),
    path("api-keys/<uuid:pk>/revoke", accounts.api_key_revoke, name="api-key-revoke"),
]
