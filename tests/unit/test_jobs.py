"""Periodic jobs: claimed, written down, and noticed when they are late."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from celery import current_app
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import User
from billing.tasks import charge_cycle
from lumos import jobs
from lumos.models import JobRow
from lumos.tasks import watch_jobs
from tests import factories
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

CHARGE = "billing.tasks.charge_cycle"


@pytest.fixture(autouse=True)
def all_due(db: None) -> None:
    """Begin as right after a migration; the suite's own is minutes ago."""
    JobRow.objects.update(next_due_at=timezone.now())


def row(name: str = CHARGE) -> JobRow:
    return JobRow.objects.get(name=name)


def test_every_task_that_beat_asks_for_is_a_job() -> None:
    current_app.loader.import_default_modules()
    assert jobs.periods()
    assert all(isinstance(current_app.tasks[name], jobs.Job) for name in jobs.periods())
    assert set(JobRow.objects.values_list("name", flat=True)) == set(jobs.periods())


def test_a_job_runs_once_per_period_and_tells_what_it_did() -> None:
    charge_cycle.delay()
    first = row()
    assert (first.runs, first.failures, first.error, first.lease_until) == (1, 0, "", None)
    assert first.result == {"accounts": 0, "frozen": 0}
    assert first.duration_ms is not None
    charge_cycle.delay()
    assert row().runs == 1
    JobRow.objects.update(next_due_at=timezone.now() + timedelta(seconds=9))
    charge_cycle.delay()
    assert row().runs == 2, "beat may be a little early"


def test_a_failure_is_kept_and_the_next_run_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("billing.cycle.run", lambda moment: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            charge_cycle.delay()
    assert row().error == "ZeroDivisionError: division by zero"
    assert jobs.troubles(timezone.now()) == [jobs.Trouble(CHARGE, "failing")]
    JobRow.objects.update(next_due_at=timezone.now())
    charge_cycle.delay()
    assert (row().error, row().failures) == ("", 1)


def test_a_run_that_died_frees_its_job_when_the_lease_ends() -> None:
    now = timezone.now()
    dead = jobs.claim(CHARGE, now)
    assert dead is not None
    assert jobs.claim(CHARGE, now + timedelta(minutes=1)) is None
    late = now + timedelta(minutes=2, seconds=1)
    assert jobs.Trouble(CHARGE, "stuck") in jobs.troubles(late)
    successor = jobs.claim(CHARGE, late)
    assert successor is not None
    jobs._finish(CHARGE, dead, 0.0, error="too late")
    assert (row().token, row().error) == (successor, "")


def test_jobs_that_nobody_asks_for_are_late(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/readyz").json()["jobs"] == "ok"
    JobRow.objects.filter(name=CHARGE).update(next_due_at=timezone.now() - timedelta(minutes=3))
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["jobs"] == {CHARGE: "late"}
    assert "job_in_trouble" in caplog.text
    watch_jobs.delay()
    assert row("lumos.tasks.watch_jobs").result == {CHARGE: "late"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
def test_of_many_workers_one_gets_the_run() -> None:
    now, claims, together = timezone.now(), [], threading.Barrier(8)
    JobRow.objects.get_or_create(name=CHARGE, defaults={"next_due_at": now})

    def work() -> None:
        try:
            together.wait(60)
            claims.append(jobs.claim(CHARGE, now + timedelta(minutes=1)))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(claims) == 8
    assert len([claim for claim in claims if claim]) == 1


def test_the_operator_sees_the_jobs(signed_in: Any) -> None:
    charge_cycle.delay()
    JobRow.objects.filter(name="servers.tasks.expire_old_rows").update(next_due_at=timezone.now() - timedelta(days=1))
    operator = User.objects.create_superuser("operator@example.com", factories.PASSWORD)
    Authenticator.objects.create(user=operator, type=Authenticator.Type.TOTP, data={"secret": "x"})
    client = signed_in(operator)
    text = client.get(reverse("admin:lumos_jobrow_changelist")).content.decode()
    assert CHARGE in text
    assert ">late<" in text
    assert ">never ran<" in text


def test_metrics_need_the_token(client: Client, settings: Any, alice: Tenant) -> None:
    assert client.get("/metrics").status_code == 404
    settings.METRICS_TOKEN = "secret-token"
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    charge_cycle.delay()
    JobRow.objects.filter(name="billing.tasks.check_ledger").update(
        result={"differences": 2}, next_due_at=timezone.now() - timedelta(days=3)
    )
    answer = client.get("/metrics", headers={"authorization": "Bearer secret-token"})
    families = {family.name: family for family in text_string_to_metric_families(answer.content.decode())}
    assert families["lumos_ledger_differences"].samples[0].value == 2
    assert families["lumos_servers"].samples[0].value == 1
    assert families["lumos_queue_length"].samples[0].value == 0
    assert families["lumos_cycle_accounts"].samples[0].value == 0
    [trouble] = families["lumos_job_trouble"].samples
    assert trouble.labels == {"job": "billing.tasks.check_ledger", "trouble": "late"}
