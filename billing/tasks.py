"""Periodic jobs on money, of all accounts at once."""

from dataclasses import asdict

from celery import shared_task
from django.utils import timezone

from billing import cycle, ledger, rollup
from lumos.jobs import Job


@shared_task(base=Job)
def charge_cycle() -> dict[str, int]:
    """Charge the present cycle. It comes every minute, so that a run that broke is finished within the cycle."""
    return asdict(cycle.run(timezone.now()))


@shared_task(base=Job)
def roll_up_charges() -> dict[str, int]:
    """Make one entry of a day's charges, once they are two months old."""
    return {"entries": rollup.roll_up(timezone.now())}


@shared_task(base=Job)
def check_ledger() -> dict[str, int]:
    """Compare every balance with the sum of its entries."""
    return {"differences": len(ledger.differences())}
