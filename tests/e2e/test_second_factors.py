"""Authenticator app, recovery code and passkey in a real Chromium with a virtual authenticator."""

import base64
import hashlib
import hmac
import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.factories import PASSWORD, tenant

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PERIOD_SECONDS = 30
PATIENCE_MS = 40_000


def code_of(secret: str, periods_ahead: int) -> str:
    """Return what an authenticator app shows (RFC 6238, SHA-1, six digits)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    counter = struct.pack(">Q", int(time.time()) // PERIOD_SECONDS + periods_ahead)
    digest = hmac.new(key, counter, hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


@pytest.fixture
def page(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Return a page of a browser at the site, whose address a passkey can be bound to."""
    tenant("alice", "alice.example")
    # Playwright runs an event loop in this thread; the database is used here before and after it only.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        found = browser.new_page(base_url=f"http://localhost:{live_server.thread.port}")
        found.set_default_timeout(PATIENCE_MS)
        yield found
        browser.close()


def sign_in(page: Page) -> None:
    page.goto("/auth/login/")
    page.fill("[name=login]", "alice@example.com")
    page.fill("[name=password]", PASSWORD)
    page.click("main button[type=submit]:text-is('Sign In')")


def open_guarded(page: Page, path: str) -> None:
    """Go to a page that asks for the password again first."""
    page.goto(path)
    page.fill("[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(f"**{path}")


def sign_out(page: Page) -> None:
    page.goto("/auth/logout/")
    page.click("main button[type=submit]")
    page.wait_for_url("**/auth/login/**")


def test_authenticator_app_and_recovery_code(page: Page) -> None:
    sign_in(page)
    page.wait_for_selector("h1:text('Overview')")
    open_guarded(page, "/auth/2fa/totp/activate/")
    secret = page.input_value("#authenticator_secret")
    page.fill("[name=code]", code_of(secret, 0))
    page.click("main button[type=submit]")
    page.wait_for_url("**/recovery-codes/**")
    page.goto("/auth/2fa/recovery-codes/")
    codes = page.input_value("#recovery_codes").split()

    sign_out(page)
    sign_in(page)
    page.fill("[name=code]", "000000")
    page.click("main button:text-is('Sign In')")
    page.wait_for_selector("text=Incorrect code")
    page.fill("[name=code]", code_of(secret, 1))  # a code is good once
    page.click("main button:text-is('Sign In')")
    page.wait_for_selector("h1:text('Overview')")

    sign_out(page)
    sign_in(page)
    page.fill("[name=code]", codes[0])
    page.click("main button:text-is('Sign In')")
    page.wait_for_selector("h1:text('Overview')")

    sign_out(page)
    sign_in(page)
    page.fill("[name=code]", codes[0])
    page.click("main button:text-is('Sign In')")
    page.wait_for_selector("text=Incorrect code")


def test_passkey_signs_in_without_a_password(page: Page) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    sign_in(page)
    page.wait_for_selector("h1:text('Overview')")
    open_guarded(page, "/auth/2fa/webauthn/add/")
    page.fill("[name=name]", "laptop")
    page.check("[name=passwordless]")
    page.click("#mfa_webauthn_add")
    page.wait_for_url("**/recovery-codes/**")

    sign_out(page)
    page.click("#passkey_login")
    page.wait_for_selector("h1:text('Overview')")

    sign_out(page)
    sign_in(page)  # the password alone is not enough any more
    page.wait_for_url("**/auth/2fa/authenticate/**")
    page.click("#mfa_webauthn_authenticate")
    page.wait_for_selector("h1:text('Overview')")
