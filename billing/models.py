"""Plans, what each account has of them, and the ledger."""

from django.core.validators import MaxValueValidator
from django.db import models

from accounts.models import Account, User
from accounts.tenancy import TenantModel
from billing import money


class Plan(models.Model):
    """What an account may have, and for how much. No tenant's row; code compares limits, never names."""

    name = models.CharField(max_length=40, unique=True)
    price_microcredits = models.PositiveBigIntegerField(
        "price per 30 days in micro-credits", validators=[MaxValueValidator(money.PRICE_MAX)]
    )
    max_servers = models.PositiveIntegerField()
    analytics_hours = models.PositiveIntegerField("analytics window in hours")
    has_api_keys = models.BooleanField("API keys", default=False)
    has_email_alerts = models.BooleanField("e-mail alerts", default=False)
    has_failover = models.BooleanField("failover", default=False)
    has_webhooks = models.BooleanField("webhooks and chat alerts", default=False)
    is_default = models.BooleanField("new accounts get it", default=False)
    is_offered = models.BooleanField("customers may choose it", default=True)

    class Meta:
        ordering = ["price_microcredits", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_plan"
            ),
            models.CheckConstraint(
                condition=models.Q(price_microcredits__lte=money.PRICE_MAX), name="plan_price_fits_the_arithmetic"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Wallet(TenantModel):
    """An account's plan and balance, one row that is opened when it is first needed.

    `cycle` is the last one that was charged; charges before the cycle `rolled_until` are by day. A row narrow and apart
    from the account's: it is written every five minutes, and whoever signs in reads the account only.
    """

    id = models.BigAutoField(primary_key=True)  # type: ignore[assignment]
    account = models.OneToOneField(Account, on_delete=models.CASCADE, editable=False, related_name="wallet")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    next_plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+", null=True, editable=False)
    next_plan_cycle = models.BigIntegerField(null=True, editable=False)
    balance_microcredits = models.BigIntegerField(default=0, editable=False)
    cycle = models.BigIntegerField(default=0, editable=False)
    rolled_until = models.BigIntegerField(default=0, db_default=0, editable=False)
    frozen_at = models.DateTimeField(null=True, editable=False)
    low_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"{money.text(self.balance_microcredits)} credits"

    @property
    def is_frozen(self) -> bool:
        """Whether changes, API keys and alerts are refused."""
        return self.frozen_at is not None


class Kind(models.TextChoices):
    """Why a balance changed."""

    CHARGE = "charge", "Charge"
    GRANT = "grant", "Credit from the operator"
    TOP_UP = "top_up", "Top-up"
    REFUND = "refund", "Refund"
    CHARGEBACK = "chargeback", "Disputed payment"


BOOKINGS = [choice for choice in Kind.choices if choice[0] != Kind.CHARGE]


class LedgerEntry(TenantModel):
    """One change of a balance; never changed, and never deleted but with its account (a trigger holds this). Charges
    that are old become one entry a day and price, of the same sum (billing/rollup.py).

    A charge is named by its cycle, the first of its `cycles`, everything else by its cause, so nothing is booked twice.
    `price_microcredits` is the price that a charge was made from: anybody can work it out again.
    """

    id = models.BigAutoField(primary_key=True)  # type: ignore[assignment]
    # No index of its own, because the constraint below begins with the account; and no foreign key in the database,
    # because a cycle would check it a million times: entries are made of wallets alone, and those have one.
    account = models.ForeignKey(
        Account, on_delete=models.CASCADE, editable=False, related_name="+", db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    amount_microcredits = models.BigIntegerField()
    cycle = models.BigIntegerField(null=True)
    price_microcredits = models.BigIntegerField(null=True)
    cycles = models.PositiveSmallIntegerField(default=1, db_default=1)
    cause = models.CharField(max_length=120, blank=True)
    memo = models.CharField(max_length=200, blank=True)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "ledger entries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "cycle"], name="one_charge_per_account_and_cycle"),
            # With a condition, so that charges are in one index only.
            models.UniqueConstraint(fields=["cause"], condition=~models.Q(cause=""), name="entry_once_per_cause"),
            models.CheckConstraint(
                condition=models.Q(kind=Kind.CHARGE, cycle__isnull=False, price_microcredits__isnull=False, cause="")
                | (~models.Q(kind=Kind.CHARGE) & ~models.Q(cause="") & models.Q(cycle=None)),
                name="entry_has_one_cause",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], condition=models.Q(cycle=None), name="ledger_not_charges"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {money.text(self.amount_microcredits)}"


class Cycle(models.Model):
    """A five-minute cycle that was charged, of all accounts; `number` is the Unix time divided by 300."""

    number = models.BigIntegerField(primary_key=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    accounts = models.PositiveIntegerField(default=0)
    frozen = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return str(self.number)


class TopUpState(models.TextChoices):
    """How far a payment has come."""

    OPEN = "open", "Not paid yet"
    PAID = "paid", "Paid"
    EXPIRED = "expired", "Given up"


class TopUp(TenantModel):
    """Credits that a customer buys. `refunded` is what the provider told, `refund_booked` what the ledger has of it.

    `disputed` is what the customer's bank has taken back by the latest message, of `dispute_told_at` (Unix seconds).
    """

    provider = models.CharField(max_length=20)
    reference = models.CharField(max_length=255, blank=True)
    payment = models.CharField(max_length=255, blank=True)
    amount_microcredits = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=10, choices=TopUpState.choices, default=TopUpState.OPEN)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    paid_at = models.DateTimeField(null=True)
    refunded_microcredits = models.PositiveBigIntegerField(default=0)
    refund_booked_microcredits = models.PositiveBigIntegerField(default=0)
    disputed_microcredits = models.PositiveBigIntegerField(default=0, db_default=0)
    dispute_booked_microcredits = models.PositiveBigIntegerField(default=0, db_default=0)
    dispute_told_at = models.PositiveBigIntegerField(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{money.text(self.amount_microcredits)} {self.currency.upper()}"


class ProviderEvent(models.Model):
    """A message of a payment provider that was carried out, so that none is carried out twice. No tenant's row."""

    provider = models.CharField(max_length=20)
    event = models.CharField(max_length=255)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "event"], name="provider_event_once")]

    def __str__(self) -> str:
        return f"{self.provider} {self.event}"
