"""Certificates that end soon, and rows that are old."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.tenancy import tenant_scope
from domains.models import Certificate, CertificateSource, DomainServer
from notifications import causes
from notifications.models import KnownDevice, MaintenanceWindow, Notification

log = logging.getLogger(__name__)

WARN_DAYS = (1, 7, 14)
KEPT = timedelta(days=30)
DEVICES_KEPT = timedelta(days=365)
BATCH = 1_000


def warn_of_certificates(now: datetime) -> None:
    """Tell of every certificate that ends in 14, 7 or 1 days, once each; one tenant's failure does not stop others."""
    own = DomainServer.unscoped.filter(domain=OuterRef("domain"), server=OuterRef("server"))
    ending = Certificate.unscoped.filter(Exists(own), expires_at__gt=now, expires_at__lte=now + timedelta(days=14))
    ending = ending.exclude(domain__certificate=CertificateSource.OFF).select_related("domain", "server")
    for certificate in ending.iterator(chunk_size=500):
        left = certificate.expires_at - now
        try:
            with transaction.atomic(), tenant_scope(certificate.account_id):
                causes.certificate_expires(certificate, next(d for d in WARN_DAYS if left <= timedelta(days=d)))
        except Exception:
            log.exception("expiry_not_told", extra={"certificate": str(certificate.pk)})


def expire_rows(now: datetime) -> int:
    """Delete what is older than `KEPT`, of all tenants, in batches; returns how many notifications."""
    gone = 0
    while True:
        old = Notification.unscoped.filter(created_at__lt=now - KEPT).order_by("created_at")
        found = list(old.values_list("pk", flat=True)[:BATCH])
        Notification.unscoped.filter(pk__in=found).delete()
        gone += len(found)
        if len(found) < BATCH:
            break
    MaintenanceWindow.unscoped.filter(ends_at__lt=now - KEPT).delete()
    KnownDevice.objects.filter(seen_at__lt=now - DEVICES_KEPT).delete()
    return gone
