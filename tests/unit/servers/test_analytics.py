"""What was served over time: the same from minutes, hours and days, within the plan's window, for one tenant."""

import csv
import io
import random
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.utils import timezone
from msgspec import structs

from accounts.models import User
from billing.models import Plan
from lumos_agent import protocol
from lumos_agent.timings import LONGER, bucket_of
from servers import analytics, rollup
from servers.analytics import Step
from servers.latency import PERCENTILES
from servers.metrics import ingest
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plan(db: None) -> None:
    """Let accounts look back for 30 days."""
    Plan.objects.update(analytics_hours=30 * 24)


def serve(tenant: Tenant, at: datetime, timings: dict[int, int] | None = None, **counts: int) -> None:
    """Ingest one batch of a moment, from a spool of its own."""
    hour = int(at.timestamp()) // 3600 * 3600
    part = protocol.Traffic(domain_id=str(tenant.domain.pk), hour=hour, timings=timings or {}, **counts)
    batch = protocol.Batch(boot_id=str(uuid.uuid4()), seq=1, at=at.timestamp(), traffic=(part,))
    with tenant.scope:
        assert ingest(server_id=tenant.server.pk, batch=batch)


@pytest.fixture
def month(alice: Tenant, mallory: Tenant) -> datetime:
    """Let alice serve 1, 2, 3 … requests on each of the last 40 days, and mallory much; some of it is rolled up."""
    now = timezone.now()
    for days in range(40):
        serve(alice, now - timedelta(days=days), requests=days + 1, blocked=1, status_2xx=days)
        serve(mallory, now - timedelta(days=days), requests=10_000)
    rollup.roll_up(now)
    return now


def test_days_are_hours_and_days_together(alice: Tenant, month: datetime) -> None:
    with alice.scope:
        found = analytics.served(analytics.last(timedelta(days=30)))
    assert found.span.step is Step.DAY
    assert found.points[-1] == datetime.combine(month.date(), datetime.min.time(), UTC)
    assert found.counts["requests"] == [days + 1 for days in reversed(range(30))]
    assert found.totals["blocked"] == 30


def test_percentiles_are_the_same_however_counts_came_together(alice: Tenant, mallory: Tenant, api: Api) -> None:
    now, chance = timezone.now(), random.Random(3)
    waited = sorted(round(chance.lognormvariate(4, 1)) for _ in range(4000))
    for days in range(20):
        serve(alice, now - timedelta(days=days), Counter(map(bucket_of, waited[days::20])))
    serve(mallory, now, {LONGER: 10_000})
    query = f"since={(now - timedelta(days=25)).strftime('%Y-%m-%dT%H:%M:%SZ')}&step=day"
    before = api.get(f"/analytics?{query}").json()
    rollup.roll_up(now)
    for narrowed in ("", f"&domain={alice.domain.pk}", f"&server={alice.server.pk}"):
        assert api.get(f"/analytics?{query}{narrowed}").json() | {"earliest": ""} == before | {"earliest": ""}
    assert before["measured"] == 4000
    for name, share in PERCENTILES.items():
        exact = waited[round(share * 4000) - 1]
        assert exact / 1.1 < before["latency_ms"][name] < exact * 1.1
    nothing = dict.fromkeys(PERCENTILES)
    assert [point["latency_ms"] != nothing for point in before["points"][-21:]] == [False] + [True] * 20


def test_every_filter_sees_the_same_counts(alice: Tenant, mallory: Tenant, month: datetime) -> None:
    lengths = timedelta(hours=1), timedelta(hours=24), timedelta(days=7), timedelta(days=30)
    for length, narrowed in product(lengths, [(), ("domain",), ("server",), ("domain", "server")]):
        with alice.scope:
            span = analytics.last(length)
            whole = analytics.served(span)
            filters = {name: getattr(alice, name).pk for name in narrowed}
            assert analytics.served(span, **filters) == whole
            assert whole.totals["requests"] > 0
            for name in narrowed:
                foreign = analytics.served(span, **filters | {name: getattr(mallory, name).pk})
                assert foreign.totals["requests"] == 0


def test_the_window_of_the_plan_holds_at_every_door(alice: Tenant, month: datetime, api: Api, signed_in: Any) -> None:
    Plan.objects.update(analytics_hours=24)
    answer = api.get("/analytics?since=2020-01-01T00:00:00Z").json()
    assert answer["totals"]["requests"] <= 3
    assert datetime.fromisoformat(answer["since"]) >= month - timedelta(hours=24)
    assert len(api.get("/metrics").json()["results"]) <= 2
    gone = api.get("/analytics?since=2020-01-01T00:00:00Z&until=2020-02-01T00:00:00Z")
    assert gone.status_code == 400
    assert "Your plan shows what was served since" in gone.content.decode()
    page = signed_in(alice.owner)
    text = page.get("/analytics?period=month").content.decode()
    assert "Last 30 days" not in text
    lines = list(csv.reader(io.StringIO(page.get("/analytics.csv?period=month").content.decode())))
    assert lines[0][:2] == ["hour", "requests"]
    assert sum(int(line[1]) for line in lines[1:]) <= 3


def test_api_adds_up_and_names_points(alice: Tenant, month: datetime, api: Api) -> None:
    since = (month - timedelta(days=20)).strftime("%Y-%m-%dT00:00:00Z")
    until = (month - timedelta(days=10)).strftime("%Y-%m-%dT00:00:00Z")
    found = api.get(f"/analytics?since={since}&until={until}&domain={alice.domain.pk}").json()
    assert found["step"] == "day"
    assert [point["requests"] for point in found["points"]] == list(range(21, 11, -1))
    assert found["points"][0]["at"] == since
    assert found["totals"]["requests"] == sum(range(12, 22))
    today = api.get("/analytics?step=hour").json()
    assert len(today["points"]) == 24
    assert today["totals"].keys() == found["points"][0].keys() - {"at", "latency_ms"}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=yesterday", "since"),
        ("step=week", "step"),
        ("domain=x", "domain"),
        ("since=2026-05-02T00:00Z&until=2026-05-01T00:00Z", "must be before"),
    ],
)
def test_bad_queries_are_told(api: Api, query: str, says: str) -> None:
    answer = api.get(f"/analytics?{query}")
    assert answer.status_code == 400
    assert says in answer.content.decode()


def test_steps_that_are_no_longer_kept_are_refused(api: Api, alice: Tenant) -> None:
    for step, age in (("minute", timedelta(hours=3)), ("hour", timedelta(days=9))):
        since = (timezone.now() - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = api.get(f"/analytics?since={since}&step={step}")
        assert answer.status_code == 400
        assert f"Counts per {step} are kept since" in answer.content.decode()


def test_foreign_domain_does_not_exist(api: Api, mallory: Tenant) -> None:
    assert api.get(f"/analytics?domain={mallory.domain.pk}").status_code == 404
    assert api.get(f"/analytics?server={mallory.server.pk}").status_code == 404


def test_page_shows_periods_filters_and_what_was_blocked(
    alice: Tenant, bob: User, signed_in: Any, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    serve(alice, now, requests=1_234, blocked=200, status_5xx=100, bytes_out=5_000_000)
    stopped = protocol.Event(
        request_id="r", time=now.timestamp(), domain_id=str(alice.domain.pk), client="192.0.2.7", method="GET",
        host="alice.example", path="/stopped", action="block", country="DE",
    )  # fmt: skip
    told = (stopped, structs.replace(stopped, path="/only-seen", action="detect"))
    with alice.scope:
        ingest(server_id=alice.server.pk, batch=protocol.Batch(boot_id=str(uuid.uuid4()), seq=1, events=told))
    client = signed_in(bob)
    for period in ("hour", "day", "week", "month", "nonsense"):
        with django_assert_max_num_queries(20):
            answer = client.get(f"/analytics?period={period}&domain={alice.domain.pk}&server={alice.server.pk}")
        text = answer.content.decode()
        assert "1,234" in text
        assert "4.8\xa0MB" in text
        assert "8.10 %" in text
        assert "/stopped" in text
        assert "/only-seen" not in text
    assert f'value="{alice.domain.pk}" selected' in text
    assert client.get("/analytics?domain=nonsense").status_code == 200
