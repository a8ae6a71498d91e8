"""Protected hostnames, where their clean traffic goes, and which servers carry them."""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from accounts.tenancy import TenantModel
from domains.cdn_models import CdnList  # noqa: F401 - Django finds models here
from domains.leak_models import LeakCheck  # noqa: F401 - Django finds models here
from domains.zone_models import Zone, ZoneRecord, ZoneServer  # noqa: F401 - Django finds models here
from servers.models import Server


class CertificateSource(models.TextChoices):
    """Where a domain's certificate comes from."""

    OFF = "off", "None (HTTP only)"
    ACME = "acme", "Automatic (ACME)"
    UPLOADED = "uploaded", "Uploaded (your own)"


class RolloutMode(models.TextChoices):
    """How a change of a domain reaches its servers."""

    ALL = "all", "All servers at once"
    STAGED = "staged", "First server first, the others when it does well"


class Domain(TenantModel):
    """A hostname (A-labels, lower case), ``*.`` before one, or ``*``. Its servers are ordered, the primary first.

    `traffic` holds what differs from the defaults of `lumos_agent.traffic.Traffic`.
    """

    hostname = models.CharField(max_length=253)
    traffic = models.JSONField(default=dict)
    certificate = models.CharField(max_length=10, choices=CertificateSource.choices, default=CertificateSource.ACME)
    rollout = models.CharField(max_length=10, choices=RolloutMode.choices, default=RolloutMode.ALL)
    servers: Any = models.ManyToManyField(Server, through="DomainServer", related_name="domains")

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["account", "hostname"], name="hostname_once_per_account")]

    def __str__(self) -> str:
        return self.hostname

    @property
    def is_passed_through(self) -> bool:
        """Whether TLS connections go to the origins as they are."""
        return self.traffic.get("passthrough") is not None


class DomainServer(TenantModel):
    """One server of a domain, at a position from 0."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="assignments")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="assignments")
    position = models.PositiveSmallIntegerField()

    class Meta(TenantModel.Meta):
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["domain", "server"], name="server_once_per_domain")]

    def __str__(self) -> str:
        return f"{self.domain_id} on {self.server_id}"


class Tls(models.TextChoices):
    """How the shield speaks to an origin."""

    OFF = "off", "HTTP"
    ON = "on", "HTTPS, certificate not checked"
    VERIFY = "verify", "HTTPS, certificate checked"


class Origin(TenantModel):
    """An address that clean traffic goes to: canonical IP or hostname."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="origins")
    position = models.PositiveSmallIntegerField()
    address = models.CharField(max_length=253)
    port = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(65535)])
    weight = models.PositiveSmallIntegerField(default=100, validators=[MaxValueValidator(256)])
    backup = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    tls = models.CharField(max_length=10, choices=Tls.choices, default=Tls.OFF)

    class Meta(TenantModel.Meta):
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["domain", "address", "port"], name="origin_once_per_domain"),
            models.CheckConstraint(condition=models.Q(port__range=(1, 65535)), name="origin_port_range"),
            models.CheckConstraint(condition=models.Q(weight__lte=256), name="origin_weight_range"),
        ]

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


class HealthState(models.TextChoices):
    """How an origin does on one server."""

    UP = "up", "up"
    DOWN = "down", "down"
    MAINTENANCE = "maintenance", "out of service"
    UNCHECKED = "unchecked", "not checked"


class OriginHealth(TenantModel):
    """How an origin does by the checks of one server, as that server last reported it."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    origin = models.ForeignKey(Origin, on_delete=models.CASCADE, related_name="health")
    state = models.CharField(max_length=15, choices=HealthState.choices)
    reason = models.CharField(max_length=300, blank=True)
    since = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["server", "origin"]
        constraints = [models.UniqueConstraint(fields=["server", "origin"], name="health_once_per_server")]

    def __str__(self) -> str:
        return f"{self.origin_id} on {self.server_id}: {self.state}"


class CertificateStatus(models.TextChoices):
    """Where a certificate stands on one server."""

    NONE = "none", "none yet"
    PROVISIONING = "provisioning", "being ordered"
    ACTIVE = "active", "active"
    RENEWING = "renewing", "being renewed"
    FAILED = "failed", "failed"


class Certificate(TenantModel):
    """The certificate of a domain on one of its servers, as that server last reported it."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="certificates")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="certificates")
    status = models.CharField(max_length=15, choices=CertificateStatus.choices, default=CertificateStatus.NONE)
    reason = models.TextField(blank=True)
    expires_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["domain", "server"]
        constraints = [models.UniqueConstraint(fields=["domain", "server"], name="certificate_once_per_server")]

    def __str__(self) -> str:
        return f"{self.domain_id} on {self.server_id}: {self.status}"


class CertificateAuthority(TenantModel):
    """The CA of an account, in place of the installation's.

    `external_keys`: {server id: MAC key of the external account `external_key_id`, sealed to that server}.
    """

    directory_url = models.CharField(max_length=520)
    email = models.CharField(max_length=320, blank=True)
    external_key_id = models.CharField(max_length=256, blank=True)
    external_keys = models.JSONField(default=dict)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["account"], name="one_certificate_authority_per_account")]

    def __str__(self) -> str:
        return self.directory_url


class CertificateOrder(TenantModel):
    """An order that a shield was allowed to place at a CA; the CA's limits are counted by these rows."""

    server = models.ForeignKey(Server, null=True, on_delete=models.SET_NULL, related_name="+")
    domain = models.ForeignKey(Domain, null=True, on_delete=models.SET_NULL, related_name="+")
    hostname = models.CharField(max_length=253)
    registered = models.CharField(max_length=253)
    directory_url = models.CharField(max_length=520)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["account", "registered", "-created_at"]),
            models.Index(fields=["created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.hostname} at {self.created_at}"


class UploadedCertificate(TenantModel):
    """A domain's own certificate for one of its servers: the chain (PEM), and the private key that only it can open."""

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="uploads")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    chain = models.TextField()
    sealed_key = models.TextField()

    class Meta(TenantModel.Meta):
        ordering = ["domain", "server"]
        constraints = [models.UniqueConstraint(fields=["domain", "server"], name="upload_once_per_server")]

    def __str__(self) -> str:
        return f"{self.domain_id} on {self.server_id}"


class Challenge(TenantModel):
    """A challenge that `server` published for all servers of the domain; `holders` answer it.

    With `zone` it is one by DNS, for the servers of the zone as well.
    """

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="challenges")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="challenges")
    token = models.CharField(max_length=257)
    key_authorization = models.CharField(max_length=257)
    zone = models.ForeignKey(Zone, null=True, on_delete=models.CASCADE, related_name="+")
    holders: Any = models.ManyToManyField(Server, related_name="+")
    expires_at = models.DateTimeField(db_index=True)

    class Meta(TenantModel.Meta):
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["server", "token"], name="challenge_once_per_server")]

    def __str__(self) -> str:
        return f"challenge of {self.domain_id}"


class RolloutState(models.TextChoices):
    """Where a staged change stands."""

    OBSERVING = "observing", "being observed on the first server"
    DONE = "done", "on all servers"
    STOPPED = "stopped", "stopped"


class Rollout(TenantModel):
    """A staged change. While it is observed, servers other than `first` run `before`; when it is stopped, all do.

    `before` is the domain's part of the snapshot as it was; counts are of the first server when it had applied.
    """

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="rollouts")
    first = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    revision = models.PositiveBigIntegerField()
    before = models.JSONField()
    state = models.CharField(max_length=10, choices=RolloutState.choices, default=RolloutState.OBSERVING)
    reason = models.TextField(blank=True)
    applied_at = models.DateTimeField(null=True)
    requests = models.PositiveBigIntegerField(default=0)
    errors = models.PositiveBigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["domain"], condition=~models.Q(state="done"), name="one_open_rollout_per_domain"
            )
        ]

    def __str__(self) -> str:
        return f"{self.domain_id}: {self.state}"
