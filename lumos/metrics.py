"""What the operator's monitoring reads: Prometheus text at /metrics, behind a token."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from billing.models import Cycle, Wallet
from lumos import jobs
from lumos.alerts import queue_lengths
from lumos.models import JobRow
from servers.gateway import gateway
from servers.models import Server

LEDGER_CHECK = "billing.tasks.check_ledger"


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of the installation, and of this process where the name says so."""
    token = settings.METRICS_TOKEN
    if not token:
        raise Http404
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return HttpResponse("The operator's token is needed.", status=401, headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry()
    registry.register(_Installation())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Installation(Collector):
    """Reads rows when it is asked; nothing is kept between two scrapes."""

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from _jobs()
        yield from _queue()
        yield from _servers()
        yield from _money()


def _jobs() -> Iterator[Metric]:
    trouble = GaugeMetricFamily("lumos_job_trouble", "1: late, stuck or failing", labels=["job", "trouble"])
    for name, what in jobs.reported_troubles():
        trouble.add_metric([name, what], 1)
    duration = GaugeMetricFamily("lumos_job_duration_seconds", "Of the last run", labels=["job"])
    finished = GaugeMetricFamily("lumos_job_finished_timestamp_seconds", "End of the last run", labels=["job"])
    runs = CounterMetricFamily("lumos_job_runs", "Runs that ended", labels=["job"])
    failures = CounterMetricFamily("lumos_job_failures", "Runs that failed", labels=["job"])
    for row in JobRow.objects.all():
        runs.add_metric([row.name], row.runs)
        failures.add_metric([row.name], row.failures)
        if row.finished_at is not None and row.duration_ms is not None:
            duration.add_metric([row.name], row.duration_ms / 1000)
            finished.add_metric([row.name], row.finished_at.timestamp())
    yield from (trouble, duration, finished, runs, failures)


def _queue() -> Iterator[Metric]:
    if lengths := queue_lengths():
        family = GaugeMetricFamily("lumos_queue_length", "Tasks that no worker has taken yet", labels=["queue"])
        for name, length in lengths.items():
            family.add_metric([name], length)
        yield family


def _servers() -> Iterator[Metric]:
    servers = Server.unscoped.all()
    connected = servers.filter(lease_until__gt=timezone.now()).count()
    yield GaugeMetricFamily("lumos_servers", "Servers of all accounts", value=servers.count())
    yield GaugeMetricFamily("lumos_servers_connected", "Servers whose agent is connected or polls", value=connected)
    yield GaugeMetricFamily("lumos_gateway_connections", "Agents on this process", value=len(gateway.links))


def _money() -> Iterator[Metric]:
    wallets = Wallet.unscoped.all()
    yield GaugeMetricFamily(
        "lumos_accounts_frozen", "Accounts without credits", value=wallets.filter(frozen_at__isnull=False).count()
    )
    last = Cycle.objects.filter(finished_at__isnull=False).first()
    if last is not None and last.finished_at is not None:
        finished, accounts = last.finished_at.timestamp(), last.accounts
        yield GaugeMetricFamily("lumos_cycle_timestamp_seconds", "End of the last billing cycle", value=finished)
        yield GaugeMetricFamily("lumos_cycle_accounts", "Accounts that it charged", value=accounts)
    check = JobRow.objects.filter(name=LEDGER_CHECK).first()
    if check is not None and "differences" in check.result:
        yield GaugeMetricFamily(
            "lumos_ledger_differences", "Balances that are not the sum", value=check.result["differences"]
        )
