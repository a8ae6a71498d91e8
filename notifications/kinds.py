"""The kinds of notifications: one table that matrix, e-mails and API read."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import models


class Kind(models.TextChoices):
    """What a notification is about; the value is the `type` of webhooks."""

    SERVER_DOWN = "server_down", "Server down"
    SERVER_RECOVERED = "server_recovered", "Server recovered"
    SERVER_ERROR = "server_error", "Server error"
    SSL_EXPIRING = "ssl_expiring", "Certificate expiring"
    SSL_RENEWED = "ssl_renewed", "Certificate renewed"
    SSL_FAILED = "ssl_failed", "Certificate failed"
    FAILOVER_TRIGGERED = "failover_triggered", "Failover"
    FAILOVER_RECOVERED = "failover_recovered", "Failover over"
    ATTACK_DETECTED = "attack_detected", "Attack detected"
    NEW_LOGIN = "new_login", "New sign-in"
    LOW_BALANCE = "low_balance", "Balance is low"
    ACCOUNT_FROZEN = "account_frozen", "Account frozen"
    CHANNEL_DISABLED = "channel_disabled", "Channel switched off"
    TEST = "test", "Test"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """How a kind is treated.

    `quiet`: for how long the same thing is not told again. `is_urgent`: never waits for a digest.
    `is_silenced`: maintenance windows hold it back. `is_offered`: a channel can switch it off. `is_about_account`:
    it is mailed on every plan, and while the account is frozen.
    """

    about: str
    quiet: timedelta = timedelta(0)
    is_urgent: bool = True
    is_silenced: bool = True
    is_offered: bool = True
    is_about_account: bool = False


TRAITS: dict[Kind, Traits] = {
    Kind.SERVER_DOWN: Traits(about="A shield was not heard from for two minutes, or does not answer."),
    Kind.SERVER_RECOVERED: Traits(about="A shield that was down is back."),
    Kind.SERVER_ERROR: Traits(
        about="HAProxy crashed, or a configuration was not accepted.", quiet=timedelta(minutes=10)
    ),
    Kind.SSL_EXPIRING: Traits(about="A certificate ends in 14, 7 or 1 days.", is_urgent=False),
    Kind.SSL_RENEWED: Traits(about="A certificate was renewed.", is_urgent=False),
    Kind.SSL_FAILED: Traits(about="A certificate could not be ordered or renewed.", quiet=timedelta(hours=6)),
    Kind.FAILOVER_TRIGGERED: Traits(about="The DNS of a domain was switched to other shields."),
    Kind.FAILOVER_RECOVERED: Traits(about="The DNS of a domain is back at the shields that it usually answers."),
    Kind.ATTACK_DETECTED: Traits(about="A shield noticed an attack on a domain.", quiet=timedelta(minutes=30)),
    Kind.NEW_LOGIN: Traits(
        about="Somebody signed in from a new device or network.", is_silenced=False, is_about_account=True
    ),
    Kind.LOW_BALANCE: Traits(
        about="The balance covers less than two more months.", is_silenced=False, is_about_account=True
    ),
    Kind.ACCOUNT_FROZEN: Traits(
        about="The credits are used up; changes wait for a top-up.", is_silenced=False, is_about_account=True
    ),
    Kind.CHANNEL_DISABLED: Traits(about="A channel failed for days and was switched off.", is_silenced=False),
    Kind.TEST: Traits(about="You asked for it.", is_silenced=False, is_offered=False),
}
OFFERED = tuple(kind for kind, traits in TRAITS.items() if traits.is_offered)
