"""Jobs of accounts."""

from celery import shared_task
from django.utils import timezone

from accounts.models import IdempotentAnswer, Invitation
from lumos.idempotency import KEPT
from lumos.jobs import Job


@shared_task(base=Job)
def expire_old_rows() -> None:
    """Drop answers to old Idempotency-Keys and invitations that have expired, of all accounts at once."""
    IdempotentAnswer.unscoped.filter(created_at__lt=timezone.now() - KEPT).delete()
    Invitation.unscoped.filter(expires_at__lt=timezone.now()).delete()
