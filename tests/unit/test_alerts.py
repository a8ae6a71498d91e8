"""What the operator is told of jobs and queues: when it has lasted, once, again after a day, and when it is over."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db.models import F
from django.utils import timezone

from lumos import alerts
from lumos.models import JobRow, OperatorAlert

pytestmark = pytest.mark.django_db
CHARGE = "billing.tasks.charge_cycle"


@pytest.fixture(autouse=True)
def operator(settings: Any) -> None:
    settings.OPERATOR_EMAILS = ["operator@example.com"]
    JobRow.objects.update(next_due_at=timezone.now())


def later(age: timedelta) -> None:
    OperatorAlert.objects.update(since=F("since") - age, told_at=F("told_at") - age)


def subjects() -> list[str]:
    return [str(message.subject) for message in mail.outbox]


def test_a_late_job_is_told_when_it_lasts_and_when_it_is_over() -> None:
    JobRow.objects.filter(name=CHARGE).update(next_due_at=timezone.now() - timedelta(hours=1))
    assert alerts.tell_operator() == 1
    assert subjects() == []
    later(alerts.LASTS)
    for _ in range(3):
        alerts.tell_operator()
    assert subjects() == ["Lumos: jobs are in trouble"]
    assert (mail.outbox[0].to, f"The job {CHARGE} is late" in mail.outbox[0].body) == (["operator@example.com"], True)
    later(alerts.AGAIN)
    alerts.tell_operator()
    assert len(subjects()) == 2
    JobRow.objects.update(next_due_at=timezone.now())
    for _ in range(2):
        assert alerts.tell_operator() == 0
    assert subjects()[2:] == ["Lumos: jobs are well again"]
    assert not OperatorAlert.objects.exists()


def test_a_queue_that_grows_and_a_mail_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "queue_lengths", lambda: {"celery": alerts.WAITING_MAX + 1, "deliveries": 3})
    alerts.tell_operator()
    later(alerts.LASTS)
    with monkeypatch.context() as patch:

        def refused(*_: Any) -> None:
            raise ConnectionRefusedError

        patch.setattr(alerts, "send_mail", refused)
        alerts.tell_operator()
    assert subjects() == []
    alerts.tell_operator()
    assert "tasks wait in the queue celery" in mail.outbox[0].body


def test_what_passes_by_itself_is_not_told_and_staff_is_asked_last(alice: Any, settings: Any) -> None:
    JobRow.objects.filter(name=CHARGE).update(error="boom")
    alerts.tell_operator()
    JobRow.objects.update(error="")
    alerts.tell_operator()
    assert (subjects(), OperatorAlert.objects.count()) == ([], 0)
    settings.OPERATOR_EMAILS = []
    JobRow.objects.filter(name=CHARGE).update(error="boom")
    alice.owner.is_staff = True
    alice.owner.save()
    alerts.tell_operator()
    later(alerts.LASTS)
    alerts.tell_operator()
    assert mail.outbox[0].to == [alice.owner.email]
