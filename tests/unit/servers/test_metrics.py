"""Counts: once each, whatever is repeated, late or out of order; hours become days, old rows go."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone
from msgspec import structs

from lumos_agent import protocol
from servers import rollup
from servers.metrics import ingest
from servers.models import DailyMetric, HourlyMetric, MinuteMetric, ServerDay, ServerHour, ServerMinute
from servers.tasks import expire_minutes, expire_old_rows
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
BOOT = str(uuid.uuid4())
PER_DOMAIN, PER_SERVER = (HourlyMetric, DailyMetric), (ServerHour, ServerDay)


def traffic(tenant: Tenant, at: datetime, **counts: Any) -> protocol.Traffic:
    return protocol.Traffic(domain_id=str(tenant.domain.pk), hour=int(at.timestamp()) // 3600 * 3600, **counts)


def event(tenant: Tenant, at: datetime, action: protocol.EventAction) -> protocol.Event:
    return protocol.Event(
        request_id="r", time=at.timestamp(), domain_id=str(tenant.domain.pk), client="192.0.2.1", method="GET",
        host="alice.example", path="/", action=action,
    )  # fmt: skip


def tell(tenant: Tenant, seq: int, *told: protocol.Traffic, at: float = 0.0, **more: Any) -> bool:
    with tenant.scope:
        batch = protocol.Batch(boot_id=BOOT, seq=seq, at=at, traffic=told, **more)
        return ingest(server_id=tenant.server.pk, batch=batch)


def total(models: Any, name: str = "requests") -> int:
    return sum(model.unscoped.aggregate(sum=Sum(name))["sum"] or 0 for model in models)


def test_a_batch_is_in_hour_and_minute_of_domain_and_server(alice: Tenant) -> None:
    now = timezone.now()
    part = traffic(alice, now, requests=7, bytes_out=900, status_2xx=5, status_4xx=2, blocked=2)
    logged = (event(alice, now, "challenge"), event(alice, now, "limit"), event(alice, now, "block"))
    assert tell(alice, 1, part, at=now.timestamp(), events=logged)
    for model in (HourlyMetric, ServerHour, MinuteMetric, ServerMinute):
        row = model.unscoped.get()
        counted = {name: getattr(row, name) for name in model.COUNTERS if getattr(row, name)}
        expected = {"requests": 7, "bytes_out": 900, "status_2xx": 5, "status_4xx": 2, "blocked": 2}
        assert counted == expected | {"challenged": 1, "limited": 1}
        assert (row.account_id, row.server_id) == (alice.account.pk, alice.server.pk)


def test_live_view_gets_no_batch_from_before_and_no_clock_that_is_wrong(alice: Tenant) -> None:
    now = timezone.now()
    for seq, minutes in enumerate((-61, 10), start=1):
        tell(alice, seq, traffic(alice, now, requests=1), at=(now + timedelta(minutes=minutes)).timestamp())
    assert total([HourlyMetric]) == 2
    assert total([MinuteMetric, ServerMinute]) == 0


def test_an_hour_that_has_not_come_is_the_present_one(alice: Tenant) -> None:
    now = timezone.now()
    tell(alice, 1, traffic(alice, now + timedelta(days=400), requests=3))
    assert HourlyMetric.unscoped.get().hour <= timezone.now()


def test_repeated_reordered_and_late_batches_change_nothing(alice: Tenant) -> None:
    now = timezone.now()
    hours = [now - timedelta(hours=hours) for hours in (0, 5, 24 * 8 + 5, 24 * 20, 24 * 300)]
    batches = [
        protocol.Batch(boot_id=BOOT, seq=seq, traffic=(traffic(alice, hours[seq % 5], requests=seq, blocked=1),))
        for seq in range(1, 41)
    ]
    chance = random.Random(5)
    for batch in batches:
        with alice.scope:
            assert ingest(server_id=alice.server.pk, batch=batch)
            for again in chance.sample(batches[: batch.seq], min(batch.seq, 3)):
                assert not ingest(server_id=alice.server.pk, batch=again)
        if batch.seq % 7 == 0:
            rollup.roll_up(now)
    for _ in range(3):
        rollup.roll_up(now)
    for models in (PER_DOMAIN, PER_SERVER):
        assert total(models) == sum(range(1, 41))
        assert total(models, "blocked") == 40
    kept = datetime.combine(rollup.first_hourly_day(now), datetime.min.time(), UTC)
    assert not HourlyMetric.unscoped.filter(hour__lt=kept).exists()
    assert DailyMetric.unscoped.count() == ServerDay.unscoped.count() == 3


def test_a_spool_of_its_own_counts_apart(alice: Tenant) -> None:
    """An agent that lost its file begins another spool at 1."""
    part = traffic(alice, timezone.now(), requests=1)
    tell(alice, 5, part)
    with alice.scope:
        assert ingest(
            server_id=alice.server.pk, batch=protocol.Batch(boot_id=str(uuid.uuid4()), seq=1, traffic=(part,))
        )
    assert total([HourlyMetric]) == 2


def test_days_are_utc_and_keep_accounts_apart(alice: Tenant, mallory: Tenant) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    for tenant, requests in ((alice, 1), (mallory, 10)):
        ends = day, day + timedelta(hours=23, minutes=59), day + timedelta(days=1)
        tell(tenant, 1, *(traffic(tenant, at, requests=requests) for at in ends))
    moved = rollup.roll_up(day + timedelta(days=10))
    assert moved == 2 * 2 * 3
    for tenant, requests in ((alice, 1), (mallory, 10)):
        with tenant.scope:
            for model in (DailyMetric, ServerDay):
                days = list(model.objects.order_by("day").values_list("day", "requests"))
                assert days == [(day.date(), 2 * requests), (day.date() + timedelta(days=1), requests)]


def test_old_days_and_minutes_go(alice: Tenant) -> None:
    now = timezone.now()
    tell(alice, 1, traffic(alice, now, requests=1), at=now.timestamp())
    tell(alice, 2, *(traffic(alice, now - timedelta(days=days), requests=1) for days in (8, 364, 366)))
    expire_old_rows()
    expire_old_rows()
    expire_minutes()
    assert total(PER_DOMAIN) == total(PER_SERVER) == 3
    assert total([MinuteMetric]) == total([ServerMinute]) == 1
    rollup.expire_minutes(now + timedelta(hours=2))
    assert total([MinuteMetric, ServerMinute]) == 0


def test_roll_up_goes_on_where_a_bounded_run_ended(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "MOVES_PER_RUN", 2)
    now = timezone.now()
    tell(alice, 1, *(traffic(alice, now - timedelta(days=days), requests=1) for days in (9, 10, 11)))
    assert rollup.roll_up(now) == 4
    assert rollup.roll_up(now) == 2
    assert rollup.roll_up(now) == 0
    assert total([DailyMetric]) == total([ServerDay]) == 3


def test_counts_of_a_removed_domain_stay_with_the_server(alice: Tenant) -> None:
    part = traffic(alice, timezone.now(), requests=4)
    tell(alice, 1, part)
    tell(alice, 2, structs.replace(part, domain_id=str(uuid.uuid4())))
    with alice.scope:
        alice.domain.delete()
    assert not HourlyMetric.unscoped.exists()
    assert ServerHour.unscoped.get().requests == 4
