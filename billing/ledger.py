"""Bookings: each writes one entry and moves the balance by the same amount, in one transaction."""

import logging
import uuid
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.tenancy import active_account_id
from billing import events, money
from billing.entitlements import locked_wallet, wallet_of
from billing.models import Kind, LedgerEntry, Wallet
from lumos.errors import InvalidInput

log = logging.getLogger(__name__)

LOW_FACTOR = 2
CHECK_BATCH = 5_000


@transaction.atomic
def book(*, kind: Kind, amount: int, cause: str, memo: str = "") -> LedgerEntry:
    """Book `amount` micro-credits (negative: taken away) for the account in scope; a second time it does nothing.

    A balance that comes to one price of the plan ends a freeze.

    Raises:
        InvalidInput: nothing to book.
    """
    if not amount:
        raise InvalidInput("Enter an amount other than zero.", field="amount")
    wallet = locked_wallet()
    known: LedgerEntry | None = LedgerEntry.objects.filter(cause=cause).first()
    if known is not None:
        return known
    entry: LedgerEntry = LedgerEntry.objects.create(kind=kind, amount_microcredits=amount, cause=cause, memo=memo)
    Wallet.objects.filter(pk=wallet.pk).update(balance_microcredits=F("balance_microcredits") + amount)
    settle([wallet.pk])
    log.info("ledger_booked", extra={"kind": kind, "amount": amount, "cause": cause})
    return entry


@transaction.atomic
def grant(*, amount: int, reason: str, actor: User, key: str) -> LedgerEntry:
    """Give the account in scope credits for a reason (negative: take them back); `key` names this one decision.

    Raises:
        InvalidInput: no amount or no reason.
    """
    if not reason.strip():
        raise InvalidInput("Say why, for the audit log and the customer.", field="reason")
    locked_wallet()
    known: LedgerEntry | None = LedgerEntry.objects.filter(cause=f"grant:{key}").first()
    if known is not None:
        return known
    entry = book(kind=Kind.GRANT, amount=amount, cause=f"grant:{key}", memo=reason.strip()[:200])
    audit.record(
        actor, audit.Action.CREDITS_GRANTED, entry, {"amount": [None, money.text(amount)], "reason": [None, reason]}
    )
    return entry


def balance() -> int:
    """Return the balance of the account in scope."""
    return wallet_of(active_account_id()).balance_microcredits


def settle(wallets: list[int]) -> None:
    """End the freezes, and forget the warnings, of wallets whose balance has come up again.

    The caller holds their locks. Warnings themselves are given by `cycle`, for all accounts alike.
    """
    rows = Wallet.unscoped.filter(pk__in=wallets)
    covered = rows.filter(frozen_at__isnull=False, balance_microcredits__gte=F("plan__price_microcredits"))
    if thawed := dict(covered.values_list("pk", "account_id")):
        Wallet.unscoped.filter(pk__in=thawed).update(frozen_at=None)
        events.accounts_unfrozen.send(Wallet, account_ids=list(thawed.values()))
    fine = rows.filter(
        low_at__isnull=False, balance_microcredits__gte=LOW_FACTOR * F("plan__price_microcredits")
    ).values_list("pk", flat=True)
    Wallet.unscoped.filter(pk__in=list(fine)).update(low_at=None)


def warn(wallets: Any) -> None:
    """Tell once of each wallet among `wallets` (a query, locked) whose balance fell below twice the plan's price."""
    low = wallets.filter(
        low_at=None,
        plan__price_microcredits__gt=0,
        balance_microcredits__lt=LOW_FACTOR * F("plan__price_microcredits"),
    )
    if found := dict(low.values_list("pk", "account_id")):
        Wallet.unscoped.filter(pk__in=found).update(low_at=timezone.now())
        events.balance_low.send(Wallet, account_ids=list(found.values()))


def differences() -> list[uuid.UUID]:
    """Return the accounts of all tenants whose balance is not the sum of their entries: none, unless there is a bug.

    Each batch is one statement, so that bookings between two of them cannot look like a difference.
    """
    sums = LedgerEntry.unscoped.filter(account=OuterRef("account")).order_by().values("account")
    total = Coalesce(Subquery(sums.annotate(total=Sum("amount_microcredits")).values("total")), 0)
    wrong: list[uuid.UUID] = []
    after = 0
    while batch := list(Wallet.unscoped.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:CHECK_BATCH]):
        rows = Wallet.unscoped.filter(pk__gt=after, pk__lte=batch[-1]).exclude(balance_microcredits=total)
        wrong += rows.values_list("account_id", flat=True)
        after = batch[-1]
    for account_id in wrong:
        log.error("ledger_differs", extra={"account": str(account_id)})
    return wrong
