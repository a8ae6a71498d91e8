"""Buying credits: a checkout at the provider, and the provider's messages about it.

Messages may be repeated, late and out of order: each is carried out once, and what it leads to depends on what is known
of the payment, not on which message came first.
"""

import hashlib
import logging
import uuid
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.tenancy import tenant_scope
from billing import ledger, money, providers
from billing.models import Kind, ProviderEvent, TopUp, TopUpState
from billing.providers import Checkout, EventKind, PaymentEvent
from lumos.errors import Conflict, InvalidInput

log = logging.getLogger(__name__)

AMOUNT_MIN = 5 * money.CREDIT
AMOUNT_MAX = 10_000 * money.CREDIT


def start_top_up(*, amount: int, actor: User) -> tuple[TopUp, Checkout]:
    """Begin to buy `amount` micro-credits; the customer goes on at the second item's address.

    Raises:
        InvalidInput: too little, too much, or no whole cents.
        Conflict: this installation has no payment provider.
        ProviderFailed: it did not answer.
    """
    provider = providers.provider()
    if provider is None:
        raise Conflict("Payments are not set up in this installation. Ask its operator for credits.")
    if not AMOUNT_MIN <= amount <= AMOUNT_MAX or amount % money.CENT:
        limits = f"{money.text(AMOUNT_MIN)} and {money.text(AMOUNT_MAX)}"
        raise InvalidInput(
            f"Enter an amount between {limits}, with at most two digits after the point.", field="amount"
        )
    with transaction.atomic():
        row = TopUp(
            provider=provider.name, amount_microcredits=amount, currency=settings.BILLING_CURRENCY, created_by=actor
        )
        row.save()
        audit.record(actor, audit.Action.TOP_UP_STARTED, row, {"amount": [None, money.text(amount)]})
    checkout = provider.checkout(
        top_up=row.pk,
        amount=amount,
        currency=row.currency,
        email=actor.email,
        return_url=f"{settings.PUBLIC_URL}/billing",
    )
    TopUp.objects.filter(pk=row.pk).update(reference=checkout.reference)
    return row, checkout


def refund_top_up(*, top_up: TopUp, amount: int, actor: User) -> None:
    """Have the provider give a payment back, in part or whole; the credits leave when it tells that it did.

    Raises:
        InvalidInput: more than is left of the payment or of the balance.
        Conflict: it was never paid.
        ProviderFailed: it did not answer.
    """
    provider = providers.provider()
    if top_up.state != TopUpState.PAID or provider is None or provider.name != top_up.provider:
        raise Conflict("Only a payment that was made can be given back, through the provider that took it.")
    left = min(
        top_up.amount_microcredits - top_up.refunded_microcredits - top_up.disputed_microcredits,
        ledger.balance(),
    )
    if not 0 < amount <= left or amount % money.CENT:
        raise InvalidInput(f"At most {money.text(max(left, 0))} can be given back.", field="amount")
    provider.refund(
        payment=top_up.payment, amount=amount, key=f"refund-{top_up.pk}-{top_up.refunded_microcredits}-{amount}"
    )
    audit.record(actor, audit.Action.TOP_UP_REFUNDED, top_up, {"amount": [None, money.text(amount)]})


def receive(*, provider: providers.Provider, body: bytes, headers: Any) -> None:
    """Carry out a provider's message, once.

    Raises:
        ForgedEvent: the provider did not send it.
    """
    event = provider.event(body, headers)
    try:
        with transaction.atomic():
            ProviderEvent.objects.create(provider=provider.name, event=event.event_id)
            _carry_out(provider.name, event)
    except IntegrityError:
        if not ProviderEvent.objects.filter(provider=provider.name, event=event.event_id).exists():
            raise
        log.info("payment_event_repeated", extra={"event_id": event.event_id})


def _carry_out(provider: str, event: PaymentEvent) -> None:
    known = TopUp.unscoped.filter(provider=provider)
    if event.kind == EventKind.DISPUTED and event.payment:
        rows = known.filter(payment=event.payment)
    elif event.kind == EventKind.OTHER or event.top_up is None:
        return
    else:
        rows = known.filter(pk=event.top_up)
    if (found := rows.values_list("pk", "account_id").first()) is None:
        log.warning("payment_of_unknown_top_up", extra={"event_id": event.event_id, "top_up": str(event.top_up)})
        return
    with tenant_scope(found[1]):
        row: TopUp = TopUp.objects.select_for_update(no_key=True).get(pk=found[0])
        if event.kind == EventKind.DISPUTED:
            _disputed(row, event)
        elif event.kind == EventKind.PAID:
            _paid(row, event)
        elif event.kind == EventKind.REFUNDED:
            row.refunded_microcredits = max(row.refunded_microcredits, event.amount)
        elif row.state == TopUpState.OPEN:
            row.state = TopUpState.EXPIRED
        _book_refund(row)
        row.save()


def _disputed(row: TopUp, event: PaymentEvent) -> None:
    """Take credits back while the customer's bank holds the money, and give them again when it lets go of it."""
    if event.at < row.dispute_told_at:
        return
    row.dispute_told_at, row.disputed_microcredits = event.at, min(event.amount, row.amount_microcredits)
    if missing := row.disputed_microcredits - row.dispute_booked_microcredits:
        cause = f"{_cause(row.provider, row.pk)}:dispute:{hashlib.sha256(event.event_id.encode()).hexdigest()[:32]}"
        ledger.book(kind=Kind.CHARGEBACK, amount=-missing, cause=cause, memo=f"Dispute of payment {row}")
        row.dispute_booked_microcredits = row.disputed_microcredits
        log.warning("payment_disputed", extra={"top_up": str(row.pk), "amount": missing})


def _paid(row: TopUp, event: PaymentEvent) -> None:
    if (event.amount, event.currency) != (row.amount_microcredits, row.currency):
        log.error("payment_differs", extra={"top_up": str(row.pk), "paid": event.amount, "currency": event.currency})
        return
    if row.state != TopUpState.PAID:
        row.state, row.paid_at, row.payment = TopUpState.PAID, timezone.now(), event.payment
        ledger.book(
            kind=Kind.TOP_UP, amount=row.amount_microcredits, cause=_cause(row.provider, row.pk), memo=f"Payment {row}"
        )


def _book_refund(row: TopUp) -> None:
    if row.state == TopUpState.PAID and (missing := row.refunded_microcredits - row.refund_booked_microcredits) > 0:
        cause = f"{_cause(row.provider, row.pk)}:refunded:{row.refunded_microcredits}"
        ledger.book(kind=Kind.REFUND, amount=-missing, cause=cause, memo=f"Refund of payment {row}")
        row.refund_booked_microcredits = row.refunded_microcredits


def _cause(provider: str, top_up: uuid.UUID) -> str:
    return f"{provider}:{top_up}"
