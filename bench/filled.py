"""A database of one account's metrics, as `bench/seed` and `bench/analytics` measure it."""

import argparse
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

TABLES = ("hourlymetric", "serverhour", "dailymetric", "serverday")

# Requests by domain and time of day; the other counters follow them.
_REQUESTS = "(50 + abs(hashtext(domain_id::text || t::text)) %% 50)"
_BUCKETS = ("ms_5", "ms_10", "ms_20", "ms_30", "ms_50", "ms_70", "ms_100", "ms_300", "ms_1000")
_COUNTED = (
    f"{_REQUESTS}, 900 * {_REQUESTS}, 9000 * {_REQUESTS}, 0, {_REQUESTS} - 9, 2, 5, 2, 3, 1, 1"
    + f", {_REQUESTS} / 9" * len(_BUCKETS)
)
_NAMES = (
    "requests, bytes_in, bytes_out, status_1xx, status_2xx, status_3xx, status_4xx, status_5xx, blocked, challenged, "
    "limited, " + ", ".join(_BUCKETS)
)
_TIMES = "generate_series(%s::timestamptz, %s::timestamptz - interval '1 second', interval '1 {step}') t"


@dataclass
class Seeded:
    """The account, its servers and domains, how long seeding took and {table: bytes} with indexes."""

    account: uuid.UUID
    servers: list[uuid.UUID]
    domains: list[uuid.UUID]
    seconds: float
    bytes: dict[str, int]


def add_options(options: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    options.add_argument("--servers", type=int, default=100)
    options.add_argument("--domains", type=int, default=200, help="each on all servers")
    options.add_argument("--days", type=int, default=30)


def seeded(servers: int, domains: int, days: int, *, surplus_days: int = 0, events: int = 0) -> Seeded:
    """Fill a new database: hours as long as they are kept and `surplus_days` longer, days before that."""
    from django.core.management import call_command
    from django.db import connection
    from django.utils import timezone

    from servers import rollup

    call_command("migrate", verbosity=0)
    began, now = time.perf_counter(), timezone.now()
    account, server_ids, domain_ids = _parents(servers, domains)
    first_hour = rollup.first_hourly_day(now) - timedelta(days=surplus_days)
    with connection.cursor() as cursor:
        for table, step, since, until in (
            ("hour", "hour", first_hour, now),
            ("day", "day", now.date() - timedelta(days=days), first_hour),
        ):
            _fill(cursor, table, step, (since, until))
        _fill_events(cursor, account, events)
        cursor.execute("VACUUM ANALYZE")
    sizes = {table: table_bytes(f"servers_{table}") for table in TABLES}
    return Seeded(account, server_ids, domain_ids, time.perf_counter() - began, sizes)


def _parents(servers: int, domains: int) -> tuple[uuid.UUID, list[uuid.UUID], list[uuid.UUID]]:
    """Make an account all of whose servers carry all of its domains."""
    from accounts.models import Account, Membership, Role, User
    from accounts.tenancy import tenant_scope
    from billing.models import Plan
    from domains.models import Domain, DomainServer
    from servers.models import Server

    account = Account.objects.create(name="bench")
    owner = User.objects.create(email="owner@example.com")
    Membership.objects.create(account=account, user=owner, role=Role.OWNER)
    Plan.objects.update(analytics_hours=24 * 30)
    with tenant_scope(account.pk):
        rows = [
            Server(account=account, name=f"s{number}", token_hash=str(number), token_prefix="")
            for number in range(servers)
        ]
        Server.objects.bulk_create(rows)
        sites = [Domain(account=account, hostname=f"d{number}.bench.example") for number in range(domains)]
        Domain.objects.bulk_create(sites)
        placed = [
            DomainServer(account=account, domain=site, server=server, position=at)
            for site in sites
            for at, server in enumerate(rows)
        ]
        DomainServer.objects.bulk_create(placed, batch_size=5_000)
    return account.pk, [server.pk for server in rows], [site.pk for site in sites]


def _fill(cursor: Any, table: str, step: str, times: tuple[Any, Any]) -> None:
    """Fill the table per domain, and from it the one per server."""
    named = {
        "hour": ("servers_hourlymetric", "servers_serverhour"),
        "day": ("servers_dailymetric", "servers_serverday"),
    }
    per_domain, per_server = named[table]
    pk = ("id, ", "gen_random_uuid(), ") if table == "hour" else ("", "")
    cursor.execute(
        f"INSERT INTO {per_domain} ({pk[0]}account_id, created_at, server_id, domain_id, {table}, {_NAMES}) "  # noqa: S608
        f"SELECT {pk[1]}account_id, now(), server_id, domain_id, t, {_COUNTED} "
        f"FROM {_TIMES.format(step=step)}, domains_domainserver",
        times,
    )
    sums = ", ".join(f"SUM({name})" for name in _NAMES.split(", "))
    cursor.execute(
        f"INSERT INTO {per_server} (account_id, created_at, server_id, {table}, {_NAMES}) "  # noqa: S608
        f"SELECT account_id, now(), server_id, {table}, {sums} FROM {per_domain} "
        f"GROUP BY account_id, server_id, {table}"
    )


def _fill_events(cursor: Any, account: uuid.UUID, count: int) -> None:
    """Store events of the last days."""
    from django.utils import timezone

    from accounts.tenancy import tenant_scope
    from domains.models import DomainServer
    from waf.models import Event

    with tenant_scope(account):
        places = list(DomainServer.objects.values_list("server_id", "domain_id")[:2_000])
        rows = [
            Event(
                account_id=account, server_id=places[n % len(places)][0], domain_id=places[n % len(places)][1],
                time=timezone.now(), request_id=str(n), client=f"192.0.2.{n % 250}", method="GET", host="bench.example",
                path=f"/{n % 3_000}", action="block", country="DE", rules=["sqli"],
            )
            for n in range(count)
        ]  # fmt: skip
        Event.objects.bulk_create(rows, batch_size=5_000)
    cursor.execute("UPDATE waf_event SET created_at = now() - random() * interval '7 days'")


def table_bytes(table: str) -> int:
    """Return what a table takes on disk, indexes included."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s)", [table])
        return int(cursor.fetchone()[0])
