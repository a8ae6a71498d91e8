"""What happened, who wants to know, and how telling went."""

from typing import Any

from django.db import models
from django.db.models import Q

from accounts.models import User
from accounts.tenancy import TenantModel
from domains.models import Domain
from lumos.secrets import SecretField
from notifications.kinds import OFFERED, TRAITS, Kind
from servers.models import Server


class RoutingState(models.TextChoices):
    """How far a notification has come."""

    DUE = "due", "Waiting"
    ROUTED = "routed", "Sent to channels"
    SILENCED = "silenced", "Silenced by maintenance"


class Notification(TenantModel):
    """One thing that happened: the outbox row, written in the transaction of its cause.

    `key` names what repeats: within the quiet time of its kind it is counted in `repeats` and not told again.
    `once`, if given, exists at most once per account, ever. `person` is whom it is about (sign-ins).
    """

    kind = models.CharField(max_length=24, choices=Kind.choices)
    key = models.CharField(max_length=200)
    once = models.CharField(max_length=200, null=True)  # noqa: DJ001 - NULLs are no duplicates
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    is_urgent = models.BooleanField(default=True)
    server = models.ForeignKey(Server, null=True, on_delete=models.SET_NULL, related_name="+")
    domain = models.ForeignKey(Domain, null=True, on_delete=models.SET_NULL, related_name="+")
    person = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    repeats = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=RoutingState.choices, default=RoutingState.DUE)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["account", "once"], name="notification_once")]
        indexes = [
            models.Index(fields=["account", "-created_at", "-id"]),
            models.Index(fields=["account", "key", "-created_at"]),
            models.Index(fields=["created_at"], condition=Q(state="due"), name="notifications_due"),
        ]

    def __str__(self) -> str:
        return self.title


class ChannelKind(models.TextChoices):
    """How a channel tells."""

    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"
    CHAT = "chat", "Chat"


class Digest(models.TextChoices):
    """When an e-mail channel tells what is not urgent."""

    OFF = "off", "At once"
    HOURLY = "hourly", "Hourly"
    DAILY = "daily", "Daily"


class Channel(TenantModel):
    """Where notifications go.

    `target` is what people may see of the place: an e-mail address (empty: owners and admins), a URL, a service.
    `secret` signs webhooks (`previous_secret` as well until `previous_until`), or is the address of a chat.
    Nothing goes to an address that nobody confirmed (`confirmed_at`); `asked_at` is when it was asked last.
    `choices` has the kinds that differ from "on". `claim` and `claimed_until` are the lease of the worker that tells.
    `failures` counts attempts in a row that failed, since `failing_since`; no attempt is made before `rests_until`.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=ChannelKind.choices)
    target = models.CharField(max_length=500, blank=True)
    secret = SecretField(null=True, editable=False)
    previous_secret = SecretField(null=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    choices = models.JSONField(default=dict)
    digest = models.CharField(max_length=10, choices=Digest.choices, default=Digest.OFF)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    is_default = models.BooleanField(default=False, editable=False)
    confirmed_at = models.DateTimeField(null=True, editable=False)
    asked_at = models.DateTimeField(null=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    rests_until = models.DateTimeField(null=True, editable=False)
    claim = models.UUIDField(null=True, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="channel_name_once_per_account"),
            models.UniqueConstraint(fields=["account"], condition=Q(is_default=True), name="one_default_channel"),
        ]

    def __str__(self) -> str:
        return self.name

    def wants(self, kind: str) -> bool:
        """Whether it is told of a kind."""
        return not TRAITS[Kind(kind)].is_offered or bool(self.choices.get(kind, True))

    @property
    def wanted(self) -> list[Kind]:
        """Return the kinds that it is told of."""
        return [kind for kind in OFFERED if self.wants(kind)]


class DeliveryState(models.TextChoices):
    """How far telling one channel has come."""

    DUE = "due", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Given up"


class Delivery(TenantModel):
    """One notification for one channel; tried from `next_at` on, given up at `expires_at`."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.DUE)
    tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["notification", "channel"], name="delivered_once_per_channel")]
        indexes = [
            models.Index(fields=["account", "-created_at", "-id"]),
            models.Index(fields=["channel", "next_at"], condition=Q(state="due"), name="deliveries_due"),
        ]

    def __str__(self) -> str:
        return f"{self.notification_id} to {self.channel_id}: {self.state}"


class Attempt(TenantModel):
    """One try of a delivery: what was sent and what came back, both cut to `transports.KEPT_CHARACTERS`.

    `status` is the HTTP status, if there was an answer.
    """

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    duration_ms = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField(null=True)
    request = models.TextField(blank=True)
    response = models.TextField(blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.delivery_id}: {self.error or 'delivered'}"


class MaintenanceWindow(TenantModel):
    """A time in which nothing is told of a server, a domain, or (neither given) anything in the account."""

    server = models.ForeignKey(Server, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    note = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta(TenantModel.Meta):
        ordering = ["-starts_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="window_ends_after_start"),
            models.CheckConstraint(condition=Q(server=None) | Q(domain=None), name="window_of_one_thing"),
        ]
        indexes = [models.Index(fields=["account", "ends_at"])]

    def __str__(self) -> str:
        return f"maintenance of {self.server or self.domain or 'everything'}"


class Watch(TenantModel):
    """What is known of a server that was down lately; `flips` are the times at which it went or came (Unix seconds)."""

    server = models.OneToOneField(Server, on_delete=models.CASCADE, related_name="+")
    is_down = models.BooleanField()
    since = models.DateTimeField()
    told_down = models.BooleanField(default=False)
    is_flapping = models.BooleanField(default=False)
    flips: Any = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.server_id}: {'down' if self.is_down else 'up'}"


class KnownDevice(models.Model):
    """A device and network that a person signed in from. Not a tenant row: it belongs to the person."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    fingerprint = models.CharField(max_length=64)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "fingerprint"], name="device_once_per_person")]

    def __str__(self) -> str:
        return self.fingerprint
