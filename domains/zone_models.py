"""DNS zones that an account's shields serve themselves."""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from accounts.tenancy import TenantModel
from servers.models import Server

TTL_MIN, TTL_MAX, WEIGHT_MAX = 1, 604_800, 255


class Zone(TenantModel):
    """A zone: A-labels, lower case, no final dot. Whatever changes its answers raises `serial`.

    With `dnssec` every shield signs it. `ds_until` is until when resolvers may know a DS of it, None if there was none
    when the parent answered last, at `ds_checked_at`; `ds_asked_at` is when Lumos asked by itself.
    """

    name = models.CharField(max_length=253)
    serial = models.PositiveBigIntegerField(default=1, editable=False)
    dnssec = models.BooleanField(default=False)
    ds_until = models.DateTimeField(null=True, editable=False)
    ds_checked_at = models.DateTimeField(null=True, editable=False)
    ds_asked_at = models.DateTimeField(null=True, editable=False)
    servers: Any = models.ManyToManyField(Server, through="ZoneServer", related_name="zones")

    class Meta(TenantModel.Meta):
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="zone_once_per_account")]

    def __str__(self) -> str:
        return self.name


class ZoneServer(TenantModel):
    """A shield that serves a zone under the name ``ns`` and `number`, which it keeps.

    `dnskey` is the public key that signs the zone there (base64); the shield publishes the keys of all since its
    `keys_revision`. All resolvers know the key's DS from `ds_trusted_at` on; before that, a zone with a DS names the
    shield to nobody (`is_listed`).
    """

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="nameservers")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="nameservers")
    number = models.PositiveSmallIntegerField()
    dnskey = models.CharField(max_length=88, blank=True, editable=False)
    keys_revision = models.PositiveBigIntegerField(default=0, editable=False)
    ds_trusted_at = models.DateTimeField(null=True, editable=False)
    is_listed = models.BooleanField(default=True, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["zone", "server"], name="server_once_per_zone"),
            models.UniqueConstraint(fields=["zone", "number"], name="nameserver_number_once_per_zone"),
        ]

    def __str__(self) -> str:
        return f"ns{self.number} of {self.zone_id}"


class RecordType(models.TextChoices):
    """What a record says. The last two are answered as A and AAAA."""

    A = "A", "A (IPv4 address)"
    AAAA = "AAAA", "AAAA (IPv6 address)"
    CNAME = "CNAME", "CNAME (another name)"
    MX = "MX", "MX (mail server)"
    TXT = "TXT", "TXT (text)"
    NS = "NS", "NS (delegation)"
    SRV = "SRV", "SRV (service)"
    CAA = "CAA", "CAA (who may issue certificates)"
    ALIAS = "ALIAS", "ALIAS (addresses of another name)"
    PROXIED = "PROXIED", "Proxied (addresses of your shields)"


class Answer(models.TextChoices):
    """Which of its shields a proxied name answers with."""

    ALL = "all", "All that work"
    FIRST = "first", "The first that works"


class ZoneRecord(TenantModel):
    """A record: its name relative to the zone (``@`` for the zone itself), its data in canonical presentation form.

    A proxied name has an `Answer` for data and, if it is about one shield only, that `server`. `place` is empty or
    ``country:DE`` or ``continent:EU``; a `weight` of 0 means that all records of the set are answered.
    """

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="records")
    name = models.CharField(max_length=253)
    type = models.CharField(max_length=10, choices=RecordType.choices)
    ttl = models.PositiveIntegerField(default=300, validators=[MinValueValidator(TTL_MIN), MaxValueValidator(TTL_MAX)])
    data = models.TextField()
    place = models.CharField(max_length=12, blank=True)
    weight = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(WEIGHT_MAX)])
    server = models.ForeignKey(Server, null=True, blank=True, on_delete=models.CASCADE, related_name="+")

    class Meta(TenantModel.Meta):
        ordering = ["name", "type", "place", "created_at"]
        indexes = [models.Index(fields=["zone", "name"]), models.Index(fields=["account", "type"])]
        constraints = [
            models.CheckConstraint(condition=models.Q(ttl__range=(TTL_MIN, TTL_MAX)), name="zone_record_ttl_range"),
            models.CheckConstraint(condition=models.Q(weight__lte=WEIGHT_MAX), name="zone_record_weight_range"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.type}"
