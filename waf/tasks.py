"""Periodic jobs on lists."""

import logging
import uuid

from celery import shared_task
from django.utils import timezone

from accounts.tenancy import tenant_scope
from lumos.jobs import Job
from lumos.tasks import TenantTask
from waf import lists, subscriptions
from waf.models import ListEntry, ListSubscription

log = logging.getLogger(__name__)


@shared_task(base=Job)
def expire_list_entries() -> None:
    """Take entries whose time is over off their lists; one tenant's failure does not stop the others."""
    over = ListEntry.unscoped.filter(expires_at__lte=timezone.now())
    for account_id in over.order_by().values_list("account_id", flat=True).distinct():
        try:
            with tenant_scope(account_id):
                while lists.expire_entries():
                    pass
        except Exception:
            log.exception("entries_not_expired", extra={"account": str(account_id)})


@shared_task(base=Job)
def fetch_due_subscriptions() -> None:
    """Enqueue every subscription that is due."""
    due = ListSubscription.unscoped.filter(next_fetch_at__lte=timezone.now())
    for pk, account_id in due.values_list("pk", "account_id"):
        fetch_subscription.delay(str(account_id), str(pk))


@shared_task(base=TenantTask)
def fetch_subscription(account_id: str, subscription_id: str) -> None:
    """Fetch one list."""
    subscriptions.refresh(subscription_id=uuid.UUID(subscription_id))
