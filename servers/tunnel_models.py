"""Tunnels between shields and origins: who has which place, port and public key. No private key is ever here."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantModel
from lumos_agent.tunnel import ALIVE_SECONDS, MTU_DEFAULT, SUFFIX

PORT_DEFAULT = 51820


class TunnelNetwork(TenantModel):
    """The private addresses of all tunnels of an account (tunnel_addresses.py), and the largest packet, in bytes."""

    network = models.CharField(max_length=18)
    mtu = models.PositiveIntegerField(default=MTU_DEFAULT)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["account"], name="one_tunnel_network")]

    def __str__(self) -> str:
        return self.network


class TunnelShield(TenantModel):
    """A shield's end. Key `key_number` listens on `port` or the port above it, in turn.

    From `rotation_began_at` on the next key is there as well; `public_key` and `next_public_key` are what the shield
    reported, empty before.
    """

    server = models.OneToOneField("servers.Server", on_delete=models.CASCADE, related_name="tunnel_end")
    place = models.PositiveSmallIntegerField()
    port = models.PositiveIntegerField(default=PORT_DEFAULT)
    key_number = models.PositiveIntegerField(default=1)
    public_key = models.CharField(max_length=44, blank=True)
    next_public_key = models.CharField(max_length=44, blank=True)
    rotation_began_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["account", "place"], name="tunnel_shield_place_once"),
            models.CheckConstraint(condition=models.Q(place__lt=64), name="tunnel_shield_place_range"),
        ]

    def __str__(self) -> str:
        return f"end of {self.server_id}"

    @property
    def key_numbers(self) -> list[int]:
        """Return the numbers of the keys that are in service."""
        return [self.key_number] + ([self.key_number + 1] if self.rotation_began_at else [])

    @property
    def ports(self) -> list[int]:
        """Return the UDP ports that a firewall must let in."""
        return [self.port, self.port + 1]

    def port_of(self, number: int) -> int:
        """Return where a key listens."""
        return self.port + (number - 1) % 2


class Tunnel(TenantModel):
    """An origin's machine, connected to every shield of the account. Domains name it ``<name>.tunnel``.

    `public_key` is empty before it has joined; `next_public_key` is there while it changes its key. `token_hash` is of
    the token that its script made, `join_hash` of the single-use one that lets it join until `join_expires_at`.
    """

    name = models.CharField(max_length=40)
    place = models.PositiveSmallIntegerField()
    public_key = models.CharField(max_length=44, blank=True)
    next_public_key = models.CharField(max_length=44, blank=True)
    join_hash = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001 - null is not unique
    join_expires_at = models.DateTimeField(null=True, editable=False)
    token_hash = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    fetched_at = models.DateTimeField(null=True, editable=False)
    rotation_wanted_at = models.DateTimeField(null=True, editable=False)
    states: Any

    class Meta(TenantModel.Meta):
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="tunnel_name_once"),
            models.UniqueConstraint(fields=["account", "place"], name="tunnel_place_once"),
            models.UniqueConstraint(
                fields=["account", "public_key"], name="tunnel_key_once", condition=~models.Q(public_key="")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def hostname(self) -> str:
        """Return what stands in a domain's origin."""
        return f"{self.name}{SUFFIX}"

    @property
    def can_join(self) -> bool:
        """Whether a join command that was shown still works."""
        return self.join_expires_at is not None and self.join_expires_at > timezone.now()


class TunnelState(TenantModel):
    """How one shield's tunnel to one origin does, as the shield reported it last."""

    tunnel = models.ForeignKey(Tunnel, on_delete=models.CASCADE, related_name="states")
    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="+")
    key_number = models.PositiveIntegerField()
    public_key = models.CharField(max_length=44)
    handshake_at = models.DateTimeField(null=True)
    received_bytes = models.PositiveBigIntegerField(default=0)
    sent_bytes = models.PositiveBigIntegerField(default=0)
    told_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tunnel", "server"], name="one_state_per_tunnel_end")]

    def __str__(self) -> str:
        return f"{self.tunnel_id} at {self.server_id}"

    @property
    def problem(self) -> str:
        """Return why no packets pass, empty if they do; `server` is asked whether it can tell."""
        now = timezone.now()
        if self.handshake_at is not None and self.handshake_at >= now - timedelta(seconds=ALIVE_SECONDS):
            return ""
        if self.server.lease_until is None or self.server.lease_until < now:
            return f"{self.server.name} is not connected to Lumos; this is what it told last."
        since = "for more than three minutes" if self.handshake_at else "yet"
        return (
            f"No handshake {since}, though the origin has joined: is its machine up, and do all firewalls on the way "
            f"let UDP to {self.server.name} pass? “lumos-agent doctor” there says more."
        )
