"""Stripe Checkout: https://docs.stripe.com/payments/checkout, https://docs.stripe.com/webhooks."""

import json
import uuid
from typing import Any

import stripe

from billing.money import CENT
from billing.providers import Checkout, EventKind, ForgedEvent, PaymentEvent, ProviderFailed

TIMEOUT_SECONDS = 20
RETRIES = 2
METADATA = "lumos_top_up"

_SESSIONS = {
    "checkout.session.completed": EventKind.PAID,
    "checkout.session.async_payment_succeeded": EventKind.PAID,
    "checkout.session.async_payment_failed": EventKind.EXPIRED,
    "checkout.session.expired": EventKind.EXPIRED,
}


# Other messages about a dispute move no money (https://docs.stripe.com/disputes/api).
_DISPUTES = {"charge.dispute.funds_withdrawn": 1, "charge.dispute.funds_reinstated": 0}


class StripeCheckout:
    """The provider `stripe`. The customer's card never comes near Lumos."""

    name = "stripe"
    pages = "https://checkout.stripe.com"

    def __init__(self, *, secret_key: str, webhook_secret: str, api_url: str) -> None:
        self._webhook_secret = webhook_secret
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_url},
            http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS),
            max_network_retries=RETRIES,
        )

    def checkout(self, *, top_up: uuid.UUID, amount: int, currency: str, email: str, return_url: str) -> Checkout:
        """Open a Checkout Session; the top-up's id travels in its metadata and in that of the payment."""
        named = {METADATA: str(top_up)}
        price = {"currency": currency, "unit_amount": amount // CENT, "product_data": {"name": "Lumos credits"}}
        params: Any = {
            "mode": "payment",
            "line_items": [{"quantity": 1, "price_data": price}],
            "client_reference_id": str(top_up),
            "customer_email": email,
            "metadata": named,
            "payment_intent_data": {"metadata": named},
            "success_url": f"{return_url}?paid=1",
            "cancel_url": return_url,
        }
        try:
            session = self._client.v1.checkout.sessions.create(
                params=params, options={"idempotency_key": f"top-up-{top_up}"}
            )
        except stripe.StripeError as error:
            raise _failed(error) from error
        return Checkout(reference=session.id, url=session.url or "")

    def refund(self, *, payment: str, amount: int, key: str) -> None:
        """Ask for a refund of a PaymentIntent."""
        try:
            self._client.v1.refunds.create(
                params={"payment_intent": payment, "amount": amount // CENT}, options={"idempotency_key": key}
            )
        except stripe.StripeError as error:
            raise _failed(error) from error

    def event(self, body: bytes, headers: Any) -> PaymentEvent:
        """Check the signature and its age (five minutes), and read what matters."""
        try:
            text = body.decode()
            stripe.WebhookSignature.verify_header(
                text, headers.get("Stripe-Signature"), self._webhook_secret, stripe.Webhook.DEFAULT_TOLERANCE
            )
            return _read(json.loads(text))
        except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError) as error:
            raise ForgedEvent("This is no event that Stripe signed for this endpoint within five minutes.") from error


def _failed(error: stripe.StripeError) -> ProviderFailed:
    said = error.user_message or "no answer"
    return ProviderFailed(f"Stripe could not be reached or refused: {said}. Nothing was charged; try again.")


def _read(event: dict[str, Any]) -> PaymentEvent:
    about = event["data"]["object"]
    kind = _SESSIONS.get(event["type"], EventKind.OTHER)
    amount = about.get("amount_total")
    if event["type"] == "charge.refunded":
        kind, amount = EventKind.REFUNDED, about["amount_refunded"]
    elif (share := _DISPUTES.get(event["type"])) is not None:
        kind, amount = EventKind.DISPUTED, about["amount"] * share
    elif event["type"] == "checkout.session.completed" and about.get("payment_status") == "unpaid":
        kind = EventKind.OTHER  # a slow kind of payment; another event tells how it ended
    return PaymentEvent(
        event_id=event["id"],
        kind=kind,
        top_up=_top_up(about),
        payment=about.get("payment_intent") or "",
        amount=(amount or 0) * CENT,
        currency=about.get("currency") or "",
        at=event.get("created") or 0,
    )


def _top_up(about: dict[str, Any]) -> uuid.UUID | None:
    named = (about.get("metadata") or {}).get(METADATA)
    return uuid.UUID(named) if named else None
