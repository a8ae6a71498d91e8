"""Periodic jobs on money, of all accounts at once."""

from celery import shared_task
from django.utils import timezone

from billing import cycle, ledger


@shared_task
def charge_cycle() -> None:
    """Charge the present cycle. It comes every minute, so that a run that broke is finished within the cycle."""
    cycle.run(timezone.now())


@shared_task
def check_ledger() -> None:
    """Compare every balance with the sum of its entries."""
    ledger.differences()
