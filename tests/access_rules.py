"""Who gets through which door, written down apart from the table that the product uses."""

EVERYBODY = {"owner", "admin", "member", "viewer", "key-read", "key-write", "key-admin"}
WHO = {
    "all": EVERYBODY,
    "writers": EVERYBODY - {"viewer", "key-read"},
    "admins": {"owner", "admin", "key-admin"},
    "owners": {"owner", "key-admin"},
}


def rule(text: str) -> dict[str, str]:
    """Turn "GET all, POST writers" into {method: who}."""
    return dict(part.split() for part in text.split(", ")) if text else {}


_SHOW, _ACT, _FORM, _PAGE = "GET all", "POST writers", "GET writers, POST writers", "GET all, POST writers"
_ADMIN = "POST admins"
_ROW, _REMOVABLE = "GET all, PATCH writers, DELETE writers", "GET all, DELETE writers"
_LIST = "GET all, POST writers"

RULES = {name: rule(text) for names, text in (
    # pages
    ("overview analytics analytics-csv account team servers server server-history server-preview domains domain", _SHOW),
    ("forwards", _SHOW),
    ("forward-add forward-edit server-flood", _FORM),
    ("forward-remove", _ACT),
    ("api-forward-list", _LIST),
    ("api-server-flood", "GET all, PATCH writers"),
    ("api-forward-detail", _ROW),
    ("waf events events-csv event lists domain-lists zone zone-file", _SHOW),
    ("zones", _PAGE),
    ("record", _FORM),
    ("zone-servers zone-remove zone-check zone-dnssec zone-import record-add record-remove", _ACT),
    ("server-add server-edit domain-add domain-edit domain-traffic domain-certificate", _FORM),
    ("certificate-authority rate-edit waf-rule waf-try", _FORM),
    ("waf-script waf-rules domain-import domain-failover dns-providers", _PAGE),
    ("failover-act dns-provider-remove origin-check", _ACT),
    ("server-rotate server-remove server-decommission agents-upgrade", _ADMIN),
    ("server-restore server-reunite domain-cache-purge domain-preset domain-remove rollout-release domain-bulk domain-clone", _ACT),
    ("policy-save guard-save under-attack rate-add rate-remove exclusion-add exclusion-remove waf-rule-remove", _ACT),
    ("list-import account-entry-add account-list-import account-subscription-add subscription-add", _ACT),
    ("subscription-remove entry-add entry-remove", _ACT),
    ("api-keys", "GET admins, POST admins"),
    ("api-key-revoke invite invitation-withdraw member-role member-remove", _ADMIN),
    ("account-rename account-second-factor account-delete", "POST owners"),
    ("account-export", "GET owners"),
    ("audit audit-csv", "GET admins"),
    ("notifications notification", "GET all"),
    ("channels channel maintenance", _PAGE),
    ("delivery-resend channels-matrix channel-ask channel-test channel-rotate channel-remove maintenance-remove", _ACT),
    ("tunnels tunnel", _SHOW),
    ("tunnel-add tunnel-files", _FORM),
    ("tunnel-network tunnel-open-join tunnel-rotate tunnel-remove tunnel-shield-rotate", _ACT),
    ("tunnel-shield-end-old", _ADMIN),
    ("billing ledger-csv receipt", _SHOW),
    ("billing-plan top-up", _ADMIN),
    # API
    ("api-notification-list api-notification-detail api-delivery-list api-delivery-detail", _SHOW),
    ("api-channel-list api-maintenance-list", _LIST),
    ("api-channel-detail", _ROW),
    ("api-maintenance-detail", _REMOVABLE),
    ("api-channel-test api-channel-ask api-channel-rotate-secret api-delivery-resend", _ACT),
    ("api-billing api-plans api-ledger-list api-charge-list api-top-up-detail", _SHOW),
    ("api-tunnel-list", _LIST),
    ("api-tunnel-detail", _REMOVABLE),
    ("api-tunnel-open-join api-tunnel-put-key api-tunnel-rotate-key api-tunnel-shield-rotate-key", _ACT),
    ("api-tunnel-shield-end-old-key", _ADMIN),
    ("api-tunnel-configuration api-tunnel-firewall api-tunnel-shield-list api-tunnel-shield-detail", _SHOW),
    ("api-tunnel-network", "GET all, PUT writers"),
    ("api-billing-plan", "PUT admins"),
    ("api-top-up-list", "GET all, POST admins"),
    ("api-account", "GET all, PATCH owners, DELETE owners"),
    ("api-member-list", _SHOW),
    ("api-member-detail", "GET all, PATCH admins, DELETE admins"),
    ("api-invitation-list", "GET all, POST admins"),
    ("api-invitation-detail", "GET all, DELETE admins"),
    ("api-audit-entry-list api-audit-entry-detail", "GET admins"),
    ("api-server-list api-domain-list api-exclusion-list api-custom-rule-list api-list-entry-list", _LIST),
    ("api-list-subscription-list api-zone-list api-zone-record-list", _LIST),
    ("api-policy-list api-waf-rules api-event-top api-event-list api-metric-list api-analytics api-attack-list", _SHOW),
    ("api-event-detail api-attack-detail api-snapshot-list api-snapshot-detail api-snapshot-diff", _SHOW),
    ("api-server-probes api-failover-plan api-failover-decision-list", _SHOW),
    ("api-failover", "GET all, PUT writers, DELETE writers"),
    ("api-failover-action", _ACT),
    ("api-origin-check", "GET all, POST writers"),
    ("api-dns-provider-list", _LIST),
    ("api-dns-provider-detail", _REMOVABLE),
    ("api-server-preview api-domain-certificate-recipients", _SHOW),
    ("api-server-detail", "GET all, PATCH writers, DELETE admins"),
    ("api-agent-upgrade", "GET all, POST admins, DELETE admins"),
    ("api-server-rotate-token api-server-decommission", _ADMIN),
    ("api-domain-detail api-custom-rule-detail api-zone-detail api-zone-record-detail", _ROW),
    ("api-exclusion-detail api-list-entry-detail api-list-subscription-detail", _REMOVABLE),
    ("api-policy-detail api-guard api-script api-under-attack", "GET all, PATCH writers"),
    ("api-config", "GET all, PUT writers"),
    ("api-certificate-authority", "GET all, PUT writers"),
    ("api-domain-release-rollout api-domain-purge-cache api-policy-try-request api-custom-rule-dry-run api-snapshot-restore api-server-reunite", _ACT),
    ("api-domain-apply-preset api-domain-upload-certificate api-domain-clone-settings api-script-try", _ACT),
    ("api-list-entry-import-text api-zone-import-file api-zone-check-delegation api-zone-sign", _ACT),
    ("api-zone-file", _SHOW),
    ("api-key-list", "GET admins, POST admins"),
    ("api-key-detail", "GET admins, DELETE admins"),
) for name in names.split()}  # fmt: skip
