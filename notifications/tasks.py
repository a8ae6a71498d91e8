"""Jobs of notifications. Each may run twice, late, or beside itself."""

import logging
import uuid

from celery import shared_task
from django.utils import timezone

from accounts.tenancy import tenant_scope
from lumos.jobs import Job
from lumos.tasks import TenantTask
from notifications import confirmation, delivery, expiry, outbox, watching

log = logging.getLogger(__name__)

# A message that waited longer than this is of no use: the next sweep has sent another.
SWEEP_EXPIRES_SECONDS = 30


@shared_task
def route_due() -> None:
    """Make deliveries of what happened."""
    outbox.route_due()


@shared_task(base=TenantTask)
def drain_channel(account_id: str, channel_id: str) -> None:
    """Tell one channel what is due; the next turn goes to the end of the queue."""
    if delivery.drain(channel_id=uuid.UUID(channel_id)):
        drain_channel.apply_async((account_id, channel_id), retry=False)


@shared_task(base=TenantTask, autoretry_for=(OSError,), retry_backoff=30, retry_jitter=True, max_retries=8)
def ask_to_confirm(account_id: str, channel_id: str) -> None:
    """Send the mail that asks an address whether it agrees."""
    confirmation.send_question(uuid.UUID(channel_id))


@shared_task(base=Job)
def sweep() -> None:
    """Find what lost messages would have said: notifications to route, and channels with something due."""
    outbox.route_due()
    delivery.give_up_expired(timezone.now())
    ready = delivery.due(timezone.now()).values_list("account_id", "channel_id").distinct()
    for account_id, channel_id in ready:
        drain_channel.apply_async((str(account_id), str(channel_id)), expires=SWEEP_EXPIRES_SECONDS)


@shared_task(base=Job)
def hourly() -> None:
    """Tell of certificates that end soon, and delete old rows."""
    now = timezone.now()
    expiry.warn_of_certificates(now)
    log.info("old_notifications_expired", extra={"notifications": expiry.expire_rows(now)})


@shared_task(base=Job)
def watch_servers() -> None:
    """Look for servers that went or came; one tenant's failure does not stop the others."""
    for account_id in watching.accounts_to_look_at():
        try:
            with tenant_scope(account_id):
                watching.look()
        except Exception:
            log.exception("servers_not_watched", extra={"account": str(account_id)})
