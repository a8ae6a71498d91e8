"""What was served, by minute, hour and day: per domain and server, and per server.

A minute lives for an hour, an hour until its day is moved to the days, a day for a year (`servers/rollup.py`). A count
is in an hour or in a day, never in both, so a day is what both say together. Rows per server keep what removed domains
served, and spare reads over all domains of an account.
"""

from typing import Any, ClassVar

from django.db import models

from accounts.tenancy import TenantModel
from lumos_agent.timings import BOUNDS_MS, LONGER


class Counted(TenantModel):
    """Sums that grow (servers/counting.py): the fields `COUNTERS` of the row that the fields `KEY` name.

    The fields `RARE` are counters that are null while they have nothing to count.
    """

    COUNTERS: ClassVar[tuple[str, ...]]
    RARE: ClassVar[tuple[str, ...]] = ()
    KEY: ClassVar[tuple[str, ...]]

    class Meta(TenantModel.Meta):
        abstract = True


class Timed(models.Model):
    """How many answers took how long (lumos_agent/timings.py): a field for each bucket."""

    BUCKETS: ClassVar[dict[int, str]] = {bound: f"ms_{bound}" for bound in BOUNDS_MS} | {LONGER: "ms_longer"}

    class Meta:
        abstract = True


for _name in Timed.BUCKETS.values():
    Timed.add_to_class(_name, models.PositiveBigIntegerField(null=True))


class Counters(Timed, Counted):
    """Counts of one period, which begins at `PERIOD`; a row is named by the fields `KEY`, times are UTC.

    `blocked` is every request that was denied, as HAProxy counts them. `challenged` and `limited` are those of them
    that the shield also logged as sent to the bot check or over a rate: under a flood it logs not all.
    """

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="+", db_index=False)
    requests = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    status_1xx = models.PositiveBigIntegerField(default=0)
    status_2xx = models.PositiveBigIntegerField(default=0)
    status_3xx = models.PositiveBigIntegerField(default=0)
    status_4xx = models.PositiveBigIntegerField(default=0)
    status_5xx = models.PositiveBigIntegerField(default=0)
    blocked = models.PositiveBigIntegerField(default=0)
    challenged = models.PositiveBigIntegerField(default=0)
    limited = models.PositiveBigIntegerField(default=0)

    COUNTERS: ClassVar[tuple[str, ...]] = (
        "requests", "bytes_in", "bytes_out", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx",
        "blocked", "challenged", "limited",
    )  # fmt: skip
    RARE: ClassVar[tuple[str, ...]] = tuple(Timed.BUCKETS.values())
    PERIOD: ClassVar[str]

    class Meta(TenantModel.Meta):
        abstract = True

    def __str__(self) -> str:
        return " ".join(str(getattr(self, name)) for name in self.KEY)


class _Served(Counters):
    """What one server served."""

    id: Any = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, editable=False, related_name="+", db_index=False
    )

    class Meta(Counters.Meta):
        abstract = True


class _ServedDomain(_Served):
    """What one domain served on one server."""

    domain = models.ForeignKey("domains.Domain", on_delete=models.CASCADE, related_name="+", db_index=False)

    class Meta(_Served.Meta):
        abstract = True


class HourlyMetric(Counters):
    """What one domain served on one server in one hour."""

    PERIOD, KEY = "hour", ("server", "domain", "hour")
    domain = models.ForeignKey("domains.Domain", on_delete=models.CASCADE, related_name="+", db_index=False)
    hour = models.DateTimeField()

    class Meta(Counters.Meta):
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["server", "domain", "hour"], name="one_row_per_hour")]
        indexes = [
            models.Index(fields=["account", "-hour"]),
            models.Index(fields=["domain", "hour"], name="domain_hours"),
            models.Index(fields=["hour"], name="hours_to_move"),
        ]


class DailyMetric(_ServedDomain):
    """What one domain served on one server in the hours of one day that were moved here."""

    PERIOD, KEY = "day", ("server", "domain", "day")
    day = models.DateField()

    class Meta(_ServedDomain.Meta):
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["server", "domain", "day"], name="one_row_per_day")]
        indexes = [
            models.Index(fields=["account", "day"], name="account_days"),
            models.Index(fields=["domain", "day"], name="domain_days"),
            models.Index(fields=["day"], name="days_to_expire"),
        ]


class MinuteMetric(_ServedDomain):
    """What one domain served on one server in one of the last minutes."""

    PERIOD, KEY = "minute", ("server", "domain", "minute")
    minute = models.DateTimeField()

    class Meta(_ServedDomain.Meta):
        ordering = ["-minute"]
        constraints = [models.UniqueConstraint(fields=["server", "domain", "minute"], name="one_row_per_minute")]
        indexes = [
            models.Index(fields=["account", "minute"], name="account_minutes"),
            models.Index(fields=["domain", "minute"], name="domain_minutes"),
            models.Index(fields=["minute"], name="minutes_to_expire"),
        ]


class ServerMinute(_Served):
    """What one server served in one of the last minutes."""

    PERIOD, KEY = "minute", ("server", "minute")
    minute = models.DateTimeField()

    class Meta(_Served.Meta):
        ordering = ["-minute"]
        constraints = [models.UniqueConstraint(fields=["server", "minute"], name="one_row_per_server_minute")]
        indexes = [
            models.Index(fields=["account", "minute"], name="account_server_minutes"),
            models.Index(fields=["minute"], name="server_minutes_to_expire"),
        ]


class ServerHour(_Served):
    """What one server served in one hour."""

    PERIOD, KEY = "hour", ("server", "hour")
    hour = models.DateTimeField()

    class Meta(_Served.Meta):
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["server", "hour"], name="one_row_per_server_hour")]
        indexes = [
            models.Index(fields=["account", "hour"], name="account_server_hours"),
            models.Index(fields=["hour"], name="server_hours_to_move"),
        ]


class ServerDay(_Served):
    """What one server served in the hours of one day that were moved here."""

    PERIOD, KEY = "day", ("server", "day")
    day = models.DateField()

    class Meta(_Served.Meta):
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["server", "day"], name="one_row_per_server_day")]
        indexes = [
            models.Index(fields=["account", "day"], name="account_server_days"),
            models.Index(fields=["day"], name="server_days_to_expire"),
        ]
