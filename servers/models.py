"""Shields, what each should run, what it reported, what it served."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantModel
from servers.forward_models import Forward, ForwardHour
from servers.health_models import ProbeKey, ProbeRound, ServerVerdict, ShieldState, Sight, VerdictChange
from servers.metric_models import DailyMetric, HourlyMetric, MinuteMetric, ServerDay, ServerHour, ServerMinute
from servers.tunnel_models import Tunnel, TunnelNetwork, TunnelShield, TunnelState
from servers.upgrade_models import AgentUpgrade, UpgradeState


class ApplyState(models.TextChoices):
    """How far the newest desired revision has come on the shield."""

    PENDING = "pending", "Waiting for the agent"
    APPLYING = "applying", "Applying"
    APPLIED = "applied", "In sync"
    FAILED = "failed", "Failed"
    HELD = "held", "Held back"


class ServerStatus(models.TextChoices):
    """What a person sees; derived, never stored."""

    PENDING = "pending", "Pending"
    ONLINE = "online", "Online"
    OFFLINE = "offline", "Offline"
    ERROR = "error", "Error"
    DECOMMISSIONING = "decommissioning", "Decommissioning"


class Server(TenantModel):
    """A shield: desired state, apply report, presence lease and facts.

    Desired and applied state are (epoch, revision, digest). `epoch` is that of the database when the shield was last in
    step with it, empty before; another one means that the database was restored since. `lease_until` is presence:
    renewed by the gateway while the agent is heard, so that a crashed gateway leaves nobody online for ever.
    `decommissioned_at` ends all that: the agent is asked to uninstall (servers/errands.py), and the row goes.
    """

    name = models.CharField(max_length=100)
    region = models.CharField(max_length=60, blank=True)
    public_ipv4 = models.GenericIPAddressField(protocol="IPv4", null=True, blank=True)
    public_ipv6 = models.GenericIPAddressField(protocol="IPv6", null=True, blank=True)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    token_prefix = models.CharField(max_length=12, editable=False)

    flood_connections = models.PositiveIntegerField(default=0)
    flood_new_per_second = models.PositiveIntegerField(default=0)
    flood_bans = models.BooleanField(default=False)

    revision = models.PositiveBigIntegerField(default=0, editable=False)
    removed_domains = models.PositiveIntegerField(default=0, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    apply_state = models.CharField(max_length=10, choices=ApplyState.choices, default=ApplyState.PENDING)
    applied_revision = models.PositiveBigIntegerField(default=0, editable=False)
    applied_digest = models.CharField(max_length=64, blank=True, editable=False)
    applied_domains = models.PositiveIntegerField(default=0, editable=False)
    applied_at = models.DateTimeField(null=True, editable=False)
    epoch = models.CharField(max_length=32, blank=True, default="", editable=False)
    apply_report = models.JSONField(default=dict, editable=False)

    connected_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    haproxy_running = models.BooleanField(default=True, editable=False)
    decommissioned_at = models.DateTimeField(null=True, editable=False)
    upgrade = models.ForeignKey(
        AgentUpgrade, null=True, on_delete=models.SET_NULL, related_name="servers", editable=False
    )
    errand_id = models.UUIDField(null=True, editable=False)
    errand_asked_at = models.DateTimeField(null=True, editable=False)
    errand_error = models.TextField(blank=True, db_default="", editable=False)
    facts = models.JSONField(default=dict, editable=False)
    health = models.JSONField(default=dict, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="server_name_once_per_account")]

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> ServerStatus:
        """Return what presence, HAProxy and the last apply add up to."""
        if self.decommissioned_at is not None:
            return ServerStatus.DECOMMISSIONING
        if self.connected_at is None:
            return ServerStatus.PENDING
        if self.lease_until is None or self.lease_until < timezone.now():
            return ServerStatus.OFFLINE
        if not self.haproxy_running or self.apply_state in (ApplyState.FAILED, ApplyState.HELD):
            return ServerStatus.ERROR
        return ServerStatus.ONLINE


class Epoch(models.Model):
    """Identity of this database; a restored one gets a new row, so that agents accept lower revisions."""

    value = models.CharField(max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.value


class GatewayPresence(models.Model):
    """One row: when a gateway last listened to agents, and since when without a gap. Nobody else's failure is judged
    by the silence of agents while Lumos itself was away.
    """

    since = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"since {self.since}"


class SnapshotState(models.TextChoices):
    """What became of a recorded snapshot."""

    PENDING = "pending", "Waiting for the agent"
    APPLIED = "applied", "Applied"
    FAILED = "failed", "Failed"
    HELD = "held", "Held back"
    SUPERSEDED = "superseded", "Superseded"


class SnapshotRecord(TenantModel):
    """What a server was to run from one revision on, who wanted it and why.

    A record is *open* while `digest` is empty: it then stands for the present rows, which nobody has compiled yet, and
    the next change takes it over (`changes` counts them). `touched` names the pieces that differ from the record before
    (`servers/increments.py`), None if that may be all. `servers/history.py` is the only writer.
    """

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="snapshots")
    epoch = models.CharField(max_length=32)
    revision = models.PositiveBigIntegerField()
    digest = models.CharField(max_length=64, blank=True)
    content = models.BinaryField(null=True)
    touched = models.JSONField(null=True)
    domains = models.PositiveIntegerField(null=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    cause = models.CharField(max_length=255, blank=True)
    changes = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=SnapshotState.choices, default=SnapshotState.PENDING)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["server", "epoch", "revision"], name="one_record_per_revision")]
        indexes = [models.Index(fields=["server", "-created_at"])]

    def __str__(self) -> str:
        return f"revision {self.revision}"


class BatchCursor(models.Model):
    """The last batch of an agent's spool that was counted; an older `seq` was counted before."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    boot_id = models.UUIDField()
    seq = models.PositiveBigIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["server", "boot_id"], name="one_cursor_per_spool")]

    def __str__(self) -> str:
        return f"{self.boot_id}:{self.seq}"


def epoch() -> str:
    """Return the identity of this database; made once by the first migration."""
    value: Any = Epoch.objects.order_by("-pk").values_list("value", flat=True).first()
    if value is None:
        raise RuntimeError("no epoch: run `manage.py migrate`")
    return str(value)


__all__ = [
    "AgentUpgrade",
    "ApplyState",
    "BatchCursor",
    "DailyMetric",
    "Epoch",
    "Forward",
    "ForwardHour",
    "GatewayPresence",
    "HourlyMetric",
    "MinuteMetric",
    "ProbeKey",
    "ProbeRound",
    "Server",
    "ServerDay",
    "ServerHour",
    "ServerMinute",
    "ServerStatus",
    "ServerVerdict",
    "ShieldState",
    "Sight",
    "SnapshotRecord",
    "SnapshotState",
    "Tunnel",
    "TunnelNetwork",
    "TunnelShield",
    "TunnelState",
    "UpgradeState",
    "VerdictChange",
    "epoch",
]  # fmt: skip
