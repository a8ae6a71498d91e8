"""An imitation of Stripe on loopback: it takes checkouts and refunds, and signs events as Stripe does."""

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

KEY = "sk_test_imitation"
WEBHOOK_SECRET = "whsec_imitation"
URL = "/billing/events/stripe"


class Stripe:
    """What was asked of it; `fails` makes it refuse everything."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[str, dict[str, str]]] = {}
        self.fails = False
        self.url = ""

    @property
    def settings(self) -> dict[str, str]:
        """Return the installation's settings."""
        return {"secret_key": KEY, "webhook_secret": WEBHOOK_SECRET, "api_url": self.url}

    def answer(self, path: str, key: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return status and body; the same idempotency key gets the same answer and has no second effect."""
        if self.fails:
            return 402, {"error": {"type": "card_error", "message": "no such card"}}
        self.calls.setdefault(key, (path, form))
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        if path == "/v1/checkout/sessions":
            made = {"id": f"cs_{name}", "object": "checkout.session", "url": f"https://checkout.stripe.com/c/cs_{name}"}
            return 200, made
        return 200, {"id": f"re_{name}", "object": "refund"}

    def refunds(self) -> list[dict[str, str]]:
        """Return the forms of the refunds that were asked for."""
        return [form for path, form in self.calls.values() if path == "/v1/refunds"]


@contextmanager
def imitation() -> Iterator[Stripe]:
    """Serve on a free port."""
    stripe = Stripe()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            status, answer = stripe.answer(self.path, self.headers["Idempotency-Key"], form)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    stripe.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stripe
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def event(kind: str, about: dict[str, Any], event_id: str = "") -> dict[str, Any]:
    """Return an event of Stripe's shape."""
    return {
        "id": event_id or f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "type": kind,
        "data": {"object": about},
    }


def completed(top_up: Any, *, paid: bool = True, cents: int | None = None, currency: str = "eur") -> dict[str, Any]:
    """Return what Stripe tells when a customer has gone through a checkout."""
    about = {
        "id": "cs_1", "object": "checkout.session", "payment_status": "paid" if paid else "unpaid",
        "amount_total": top_up.amount_microcredits // 10_000 if cents is None else cents, "currency": currency,
        "payment_intent": f"pi_{top_up.pk.hex}", "metadata": {"lumos_top_up": str(top_up.pk)},
    }  # fmt: skip
    return event("checkout.session.completed", about)


def refunded(top_up: Any, cents: int) -> dict[str, Any]:
    """Return what Stripe tells when `cents` of a payment were given back altogether."""
    about = {
        "id": "ch_1", "object": "charge", "amount_refunded": cents, "currency": "eur",
        "payment_intent": f"pi_{top_up.pk.hex}", "metadata": {"lumos_top_up": str(top_up.pk)},
    }  # fmt: skip
    return event("charge.refunded", about)


def disputed(top_up: Any, at: int, *, is_withdrawn: bool = True) -> dict[str, Any]:
    """Return what Stripe tells when a bank takes a payment back, or gives it again; it names the payment alone."""
    about = {
        "id": "dp_1", "object": "dispute", "amount": top_up.amount_microcredits // 10_000, "currency": "eur",
        "payment_intent": f"pi_{top_up.pk.hex}", "metadata": {},
    }  # fmt: skip
    kind = "funds_withdrawn" if is_withdrawn else "funds_reinstated"
    return event(f"charge.dispute.{kind}", about) | {"created": at}


def send(client: Any, told: dict[str, Any] | bytes, *, secret: str = WEBHOOK_SECRET, age: int = 0) -> Any:
    """Post a signed event (https://docs.stripe.com/webhooks#verify-manually)."""
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    when = int(time.time()) - age
    signature = hmac.new(secret.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={when},v1={signature}"}
    return client.post(URL, body, content_type="application/json", headers=headers)
