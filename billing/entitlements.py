"""The only reader of what a plan allows, and of whether an account is frozen."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from accounts.tenancy import active_account_id
from billing.models import Plan, Wallet
from lumos.errors import LimitReached, PaymentRequired
from servers.models import Server

FROZEN = (
    "This account is frozen, because its credits are used up. The sites behind its shields stay protected as they are; "
    "changes, API keys and alerts wait until the balance covers one price of the plan. Top up under Billing."
)


class AccountFrozen(PaymentRequired):
    """The account may not change anything until it is topped up."""

    code = "account_frozen"
    title = "The account is frozen"

    def __init__(self) -> None:
        super().__init__(FROZEN)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an account may have."""

    max_servers: int
    analytics: timedelta
    api_keys: bool
    email_alerts: bool
    failover: bool
    webhooks: bool


def wallet_of(account_id: Any) -> Wallet:
    """Return an account's wallet with its plans; the first who asks opens it, on the default plan."""
    wallets = Wallet.unscoped.select_related("plan", "next_plan")
    found: Wallet | None = wallets.filter(account_id=account_id).first()
    if found is None:
        default = Plan.objects.get(is_default=True)
        Wallet.unscoped.bulk_create([Wallet(account_id=account_id, plan=default)], ignore_conflicts=True)
        found = wallets.get(account_id=account_id)
    return found


def locked_wallet() -> Wallet:
    """Return the wallet of the account in scope, locked until the transaction ends.

    Whoever holds it takes no lock of domains or servers after it; rows that point to the wallet can be written.
    """
    account_id = active_account_id()
    wallet_of(account_id)
    row: Wallet = (
        Wallet.objects.select_related("plan", "next_plan")
        .select_for_update(of=("self",), no_key=True)
        .get(account_id=account_id)
    )
    return row


def limits_of(account_id: Any) -> Limits:
    """Return what an account may have now. Of a plan that it goes down to soon, the limits hold already."""
    return _limits(wallet_of(account_id))


def _limits(wallet: Wallet) -> Limits:
    plans = [wallet.plan, wallet.next_plan or wallet.plan]
    return Limits(
        max_servers=min(plan.max_servers for plan in plans),
        analytics=timedelta(hours=min(plan.analytics_hours for plan in plans)),
        api_keys=all(plan.has_api_keys for plan in plans),
        email_alerts=all(plan.has_email_alerts for plan in plans),
        failover=all(plan.has_failover for plan in plans),
        webhooks=all(plan.has_webhooks for plan in plans),
    )


def is_frozen(account_id: Any) -> bool:
    """Whether changes, API keys and alerts of an account are refused."""
    return Wallet.unscoped.filter(account_id=account_id, frozen_at__isnull=False).exists()


def require_active(account_id: Any) -> None:
    """Refuse for a frozen account.

    Raises:
        AccountFrozen: it is.
    """
    if is_frozen(account_id):
        raise AccountFrozen


def require_room_for_server() -> None:
    """Refuse one more server than the plan has, inside the transaction that adds it; others wait for its end.

    Raises:
        LimitReached: the plan is full.
    """
    wallet = locked_wallet()
    limit = _limits(wallet).max_servers
    if Server.objects.count() >= limit:
        servers = "one server" if limit == 1 else f"{limit} servers"
        raise LimitReached(
            f"The plan {wallet.next_plan or wallet.plan} has {servers}, and all of them are in use. Remove one, "
            "or choose a larger plan under Billing."
        )


def require_api_keys() -> None:
    """Refuse API keys on a plan without them.

    Raises:
        LimitReached: it has none.
    """
    wallet = locked_wallet()
    if not _limits(wallet).api_keys:
        raise LimitReached(
            f"The plan {wallet.next_plan or wallet.plan} has no API keys. Choose a larger plan under Billing first."
        )


def require_failover() -> None:
    """Refuse failover on a plan without it.

    Raises:
        LimitReached: it has none.
    """
    wallet = locked_wallet()
    if not _limits(wallet).failover:
        raise LimitReached(
            f"The plan {wallet.next_plan or wallet.plan} has no failover. Choose a larger plan under Billing first."
        )
