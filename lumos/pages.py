"""Routes of the dashboard."""

from django.urls import path

from accounts import account_views as account
from accounts import audit_views as audit
from accounts import personal_views as personal
from accounts import team_views as team
from accounts import views as accounts
from billing import views as billing
from domains import authority_views, config_views
from domains import views as domains
from lumos import views as lumos
from notifications import channel_views as channels
from notifications import views as notifications
from servers import analytics_views as analytics
from servers import flood_views as floods
from servers import forward_views as forwards
from servers import install, tunnel_door, tunnel_views
from servers import views as servers
from waf import event_views as events
from waf import guard_views, list_views, script_views
from waf import policy_views as policies
from waf import rule_views as rules
from waf import views as waf

urlpatterns = [
    path("", lumos.overview, name="overview"),
    path("install", install.script, name="install"),
    path("install/<str:name>", install.wheel_file, name="install-wheel"),
    path("analytics", analytics.analytics_page, name="analytics"),
    path("analytics.csv", analytics.analytics_csv, name="analytics-csv"),
    path("servers", servers.server_list, name="servers"),
    path("servers/add", servers.server_add, name="server-add"),
    path("servers/<uuid:pk>", servers.server_detail, name="server"),
    path("servers/<uuid:pk>/edit", servers.server_edit, name="server-edit"),
    path("servers/<uuid:pk>/rotate-token", servers.server_rotate, name="server-rotate"),
    path("servers/<uuid:pk>/remove", servers.server_remove, name="server-remove"),
    path("servers/<uuid:pk>/history", servers.server_history, name="server-history"),
    path("servers/<uuid:pk>/history/<int:revision>/restore", servers.server_restore, name="server-restore"),
    path("servers/<uuid:pk>/reunite", servers.server_reunite, name="server-reunite"),
    path("servers/<uuid:pk>/flood-protection", floods.server_flood, name="server-flood"),
    path("servers/<uuid:pk>/preview", servers.server_preview, name="server-preview"),
    path("tunnel", tunnel_door.script, name="tunnel-script"),
    path("tunnel/v1/join", tunnel_door.join, name="tunnel-join"),
    path("tunnel/v1/configuration", tunnel_door.configuration, name="tunnel-configuration"),
    path("tunnel/v1/key", tunnel_door.new_key, name="tunnel-key"),
    path("tunnels", tunnel_views.tunnel_list, name="tunnels"),
    path("tunnels/add", tunnel_views.tunnel_add, name="tunnel-add"),
    path("tunnels/network", tunnel_views.network_save, name="tunnel-network"),
    path("tunnels/shields/<uuid:pk>/rotate", tunnel_views.shield_rotate, name="tunnel-shield-rotate"),
    path("tunnels/shields/<uuid:pk>/end-old-key", tunnel_views.shield_end_old, name="tunnel-shield-end-old"),
    path("tunnels/<uuid:pk>", tunnel_views.tunnel_detail, name="tunnel"),
    path("tunnels/<uuid:pk>/open-join", tunnel_views.tunnel_open_join, name="tunnel-open-join"),
    path("tunnels/<uuid:pk>/files", tunnel_views.tunnel_files, name="tunnel-files"),
    path("tunnels/<uuid:pk>/rotate", tunnel_views.tunnel_rotate, name="tunnel-rotate"),
    path("tunnels/<uuid:pk>/remove", tunnel_views.tunnel_remove, name="tunnel-remove"),
    path("forwards", forwards.forward_list, name="forwards"),
    path("forwards/add", forwards.forward_add, name="forward-add"),
    path("forwards/<uuid:pk>", forwards.forward_edit, name="forward-edit"),
    path("forwards/<uuid:pk>/remove", forwards.forward_remove, name="forward-remove"),
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
    path("domains/<uuid:pk>/waf/policy", policies.policy_save, name="policy-save"),
    path("under-attack", guard_views.under_attack_save, name="under-attack"),
    path("domains/<uuid:pk>/waf/guard", guard_views.guard_save, name="guard-save"),
    path("domains/<uuid:pk>/waf/script", script_views.script, name="waf-script"),
    path("domains/<uuid:pk>/waf/rates", guard_views.rate_add, name="rate-add"),
    path("domains/<uuid:pk>/waf/rates/<slug:name>", guard_views.rate_edit, name="rate-edit"),
    path("domains/<uuid:pk>/waf/rates/<slug:name>/remove", guard_views.rate_remove, name="rate-remove"),
    path("domains/<uuid:pk>/waf/exclusions", policies.exclusion_add, name="exclusion-add"),
    path("waf/exclusions/<uuid:pk>/remove", policies.exclusion_remove, name="exclusion-remove"),
    path("domains/<uuid:pk>/waf/rules", rules.rule_list, name="waf-rules"),
    path("waf/rules/<uuid:pk>", rules.rule_edit, name="waf-rule"),
    path("waf/rules/<uuid:pk>/remove", rules.rule_remove, name="waf-rule-remove"),
    path("domains/<uuid:pk>/waf/try", policies.waf_try, name="waf-try"),
    path("events", events.event_list, name="events"),
    path("events/csv", events.event_csv, name="events-csv"),
    path("events/<uuid:pk>", events.event_detail, name="event"),
    path("domains/<uuid:pk>/lists", list_views.domain_lists, name="domain-lists"),
    path("domains/<uuid:pk>/lists/entries", list_views.entry_add, name="entry-add"),
    path("domains/<uuid:pk>/lists/import", list_views.list_import, name="list-import"),
    path("domains/<uuid:pk>/lists/subscriptions", list_views.subscription_add, name="subscription-add"),
    path("lists", list_views.account_lists, name="lists"),
    path("lists/entries", list_views.entry_add, name="account-entry-add"),
    path("lists/import", list_views.list_import, name="account-list-import"),
    path("lists/subscriptions", list_views.subscription_add, name="account-subscription-add"),
    path("lists/entries/<uuid:pk>/remove", list_views.entry_remove, name="entry-remove"),
    path("lists/subscriptions/<uuid:pk>/remove", list_views.subscription_remove, name="subscription-remove"),
    path("certificate-authority", authority_views.certificate_authority, name="certificate-authority"),
    path("notifications", notifications.notification_list, name="notifications"),
    path("notifications/<uuid:pk>", notifications.notification_detail, name="notification"),
    path("notifications/deliveries/<uuid:pk>/resend", notifications.delivery_resend, name="delivery-resend"),
    path("notifications/channels", channels.channel_list, name="channels"),
    path("notifications/channels/matrix", channels.matrix_save, name="channels-matrix"),
    path("notifications/channels/<uuid:pk>", channels.channel_detail, name="channel"),
    path("notifications/channels/<uuid:pk>/ask", channels.channel_ask, name="channel-ask"),
    path("notifications/confirm/<str:token>", channels.channel_confirm, name="channel-confirm"),
    path("notifications/channels/<uuid:pk>/test", channels.channel_test, name="channel-test"),
    path("notifications/channels/<uuid:pk>/rotate-secret", channels.channel_rotate, name="channel-rotate"),
    path("notifications/channels/<uuid:pk>/remove", channels.channel_remove, name="channel-remove"),
    path("notifications/maintenance", notifications.maintenance_list, name="maintenance"),
    path("notifications/maintenance/<uuid:pk>/remove", notifications.maintenance_remove, name="maintenance-remove"),
    path("billing", billing.billing, name="billing"),
    path("billing/plan", billing.plan_save, name="billing-plan"),
    path("billing/top-up", billing.top_up, name="top-up"),
    path("billing/ledger.csv", billing.ledger_csv, name="ledger-csv"),
    path("billing/receipts/<uuid:pk>", billing.receipt, name="receipt"),
    path("billing/events/<slug:name>", billing.provider_event, name="payment-event"),
    path("api-keys", accounts.api_key_list, name="api-keys"),
    path("account", account.account_page, name="account"),
    path("account/name", account.account_rename, name="account-rename"),
    path("account/second-factor", account.account_second_factor, name="account-second-factor"),
    path("account/export", account.account_export, name="account-export"),
    path("account/delete", account.account_delete, name="account-delete"),
    path("audit", audit.audit_log, name="audit"),
    path("audit/csv", audit.audit_csv, name="audit-csv"),
    path("team", team.team, name="team"),
    path("team/invite", team.invite, name="invite"),
    path("team/invitations/<uuid:pk>/withdraw", team.invitation_withdraw, name="invitation-withdraw"),
    path("team/<uuid:pk>/role", team.member_role, name="member-role"),
    path("team/<uuid:pk>/remove", team.member_remove, name="member-remove"),
    path("team/leave", personal.leave, name="leave"),
    path("account/switch", personal.account_switch, name="account-switch"),
    path("sessions/<int:pk>/end", personal.session_end, name="session-end"),
    path("invitations/<str:token>", personal.invitation, name="invitation"),
    path("api-keys/<uuid:pk>/revoke", accounts.api_key_revoke, name="api-key-revoke"),
]
