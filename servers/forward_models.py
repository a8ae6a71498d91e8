"""Ports that shields pass on, and what went through them."""

from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from accounts.tenancy import TenantModel
from servers.metric_models import Counted


class Transport(models.TextChoices):
    """What is passed on."""

    TCP = "tcp", "TCP"
    UDP = "udp", "UDP"


class ProxyProtocol(models.TextChoices):
    """How the target of a TCP forward learns who the client is."""

    OFF = "off", "Not at all"
    V1 = "v1", "PROXY protocol 1"
    V2 = "v2", "PROXY protocol 2"


_PORT = [MinValueValidator(1), MaxValueValidator(65_535)]
_IDLE = [MinValueValidator(10), MaxValueValidator(86_400)]
_LIMIT = [MaxValueValidator(1_000_000)]


class Forward(TenantModel):
    """One port of one shield (lumos_agent/forward.py has the meaning of each setting)."""

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="forwards")
    name = models.CharField(max_length=100)
    protocol = models.CharField(max_length=3, choices=Transport.choices, default=Transport.TCP)
    port = models.PositiveIntegerField(validators=_PORT)
    target = models.CharField(max_length=253)
    target_port = models.PositiveIntegerField(validators=_PORT)
    idle_seconds = models.PositiveIntegerField(default=300, validators=_IDLE)
    connections = models.PositiveIntegerField(default=0, validators=_LIMIT)
    packets_per_second = models.PositiveIntegerField(default=0, validators=_LIMIT)
    proxy_protocol = models.CharField(max_length=3, choices=ProxyProtocol.choices, default=ProxyProtocol.OFF)
    enabled = models.BooleanField(default=True)

    day: dict[str, int]  # set by forwards.add_day

    class Meta(TenantModel.Meta):
        ordering = ["server", "protocol", "port"]
        constraints = [
            models.UniqueConstraint(fields=["server", "protocol", "port"], name="one_forward_per_port"),
        ]

    def __str__(self) -> str:
        return f"{self.protocol} {self.port}"


class ForwardHour(Counted):
    """What one forward passed on in one hour, which is in UTC. `sessions` are TCP's, packets UDP's."""

    id: Any = models.BigAutoField(primary_key=True)
    forward = models.ForeignKey(Forward, on_delete=models.CASCADE, related_name="hours", db_index=False)
    hour = models.DateTimeField(db_index=True)
    sessions = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    packets_in = models.PositiveBigIntegerField(default=0)
    packets_out = models.PositiveBigIntegerField(default=0)

    COUNTERS: ClassVar[tuple[str, ...]] = ("sessions", "bytes_in", "bytes_out", "packets_in", "packets_out")
    KEY: ClassVar[tuple[str, ...]] = ("forward", "hour")

    class Meta(TenantModel.Meta):
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["forward", "hour"], name="one_forward_row_per_hour")]

    def __str__(self) -> str:
        return f"{self.forward_id} {self.hour}"
