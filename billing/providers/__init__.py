"""Payment providers: one Protocol, and the ones that this installation has."""

import enum
import uuid
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings

from lumos.errors import AppError


class ProviderFailed(AppError):
    """The payment provider did not do what it was asked for."""

    status = 502
    code = "payment_provider"
    title = "The payment provider did not answer as expected"
    retryable = True


class ForgedEvent(AppError):
    """A message that the provider did not sign, or that is too old to be believed."""

    code = "signature"
    title = "The signature is not valid"


class EventKind(enum.StrEnum):
    """What a provider tells."""

    PAID = "paid"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class PaymentEvent:
    """One message. `amount` in micro-credits: what was paid, what was refunded of a payment altogether, or what a
    dispute holds back of it from `at` (Unix seconds) on. A dispute names the payment alone, without a top-up.
    """

    event_id: str
    kind: EventKind
    top_up: uuid.UUID | None = None
    payment: str = ""
    amount: int = 0
    currency: str = ""
    at: int = 0


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Where a customer pays."""

    reference: str
    url: str


class Provider(Protocol):
    """Whoever takes payments. Calls may be repeated with the same arguments and then have one effect."""

    name: str
    pages: str
    """Origin of the pages where people pay, for the content security policy."""

    def checkout(self, *, top_up: uuid.UUID, amount: int, currency: str, email: str, return_url: str) -> Checkout:
        """Begin a payment of `amount` micro-credits. Raises ProviderFailed."""

    def refund(self, *, payment: str, amount: int, key: str) -> None:
        """Give `amount` micro-credits of a payment back; an event tells when it is done. Raises ProviderFailed."""

    def event(self, body: bytes, headers: Any) -> PaymentEvent:
        """Return a message that arrived. Raises ForgedEvent."""


def provider() -> Provider | None:
    """Return the payment provider of this installation, or None: then only the operator gives credits."""
    if not settings.STRIPE:
        return None
    from billing.providers.stripe_checkout import StripeCheckout

    return StripeCheckout(**settings.STRIPE)
