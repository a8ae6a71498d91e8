"""E-mail to the operator when jobs hang or queues grow: when a trouble has lasted, again each day, and when it is over.

Workers look every minute; gateways do too, because no worker can say that beat or all workers are gone. A row for each
trouble decides who tells, so that many who look send one mail.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Q
from django.utils import timezone
from redis import Redis
from redis.exceptions import RedisError

from accounts.models import User
from lumos import jobs
from lumos.models import OperatorAlert

log = logging.getLogger(__name__)

LASTS = timedelta(minutes=5)
AGAIN = timedelta(hours=24)
QUEUES = ("celery", "deliveries")
WAITING_MAX = 10_000
_WORDS = {
    "late": "is late: nobody asks for it, or nobody runs it",
    "stuck": "is stuck: a run began and never ended",
    "failing": "fails: the operator's admin shows the error",
}


def queue_lengths() -> dict[str, int]:
    """Return {queue: tasks that no worker has taken}, nothing if the broker does not answer."""
    try:
        with Redis.from_url(settings.CELERY_BROKER_URL, socket_connect_timeout=1, socket_timeout=2) as broker:
            return {name: int(broker.llen(name)) for name in QUEUES}
    except RedisError as error:
        log.warning("queue_unknown", extra={"error": str(error)})
        return {}


def tell_operator() -> int:
    """Look at jobs and queues and send what is to be told; returns how many troubles there are."""
    now = timezone.now()
    found = [f"The job {trouble.name} {_WORDS[trouble.what]}." for trouble in jobs.troubles(now)]
    found += [
        f"More than {WAITING_MAX} tasks wait in the queue {name}."
        for name, n in queue_lengths().items()
        if n > WAITING_MAX
    ]
    OperatorAlert.objects.bulk_create([OperatorAlert(name=name, since=now) for name in found], ignore_conflicts=True)
    over = [row.name for row in OperatorAlert.objects.exclude(name__in=found) if _is_mine_to_end(row)]
    begun = [row.name for row in OperatorAlert.objects.filter(name__in=found) if _is_mine_to_tell(row, now)]
    if begun:
        _send("Lumos: jobs are in trouble", [*begun, "", "What runs on the shields goes on."], undo=begun)
    if over:
        _send("Lumos: jobs are well again", [f"Over: {name}" for name in over])
    return len(found)


def _is_mine_to_tell(row: OperatorAlert, now: datetime) -> bool:
    """Claim a trouble that is due to be told."""
    if row.since > now - LASTS:
        return False
    due = OperatorAlert.objects.filter(Q(told_at=None) | Q(told_at__lte=now - AGAIN), pk=row.pk)
    return due.update(told_at=now) == 1


def _is_mine_to_end(row: OperatorAlert) -> bool:
    """Forget a trouble that is over; True for one of those who look, if it was told."""
    deleted, _ = OperatorAlert.objects.filter(pk=row.pk).delete()
    return bool(deleted) and row.told_at is not None


def _recipients() -> list[str]:
    if settings.OPERATOR_EMAILS:
        return list(settings.OPERATOR_EMAILS)
    return list(User.objects.filter(is_staff=True, is_active=True).exclude(email="").values_list("email", flat=True))


def _send(subject: str, lines: list[str], undo: list[str] | None = None) -> None:
    """Send a mail; what could not be sent is told with the next look."""
    if not (recipients := _recipients()):
        log.error("operator_has_no_address", extra={"subject": subject})
        return
    try:
        send_mail(subject, "\n".join([*lines, "", f"{settings.PUBLIC_URL}/operator/"]), None, recipients)
    except OSError as error:
        log.exception("operator_not_told", extra={"error": str(error)})
        OperatorAlert.objects.filter(name__in=undo or []).update(told_at=None)
