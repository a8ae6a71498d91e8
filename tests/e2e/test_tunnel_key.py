"""The browser makes an origin's key and keeps the private half."""

import base64
import os
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from playwright.sync_api import expect, sync_playwright

from servers.tunnel_models import Tunnel
from servers.tunnels import add_tunnel
from tests.e2e.test_second_factors import CHROMIUM, PATIENCE_MS
from tests.factories import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def test_the_private_key_is_in_the_file_and_was_never_sent(
    live_server: Any, alice: Tenant, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with alice.scope:
        tunnel, _ = add_tunnel(name="web", actor=alice.owner)
    cookies: Any = [
        {"name": n, "value": c.value, "url": live_server.url} for n, c in signed_in(alice.owner).cookies.items()
    ]
    sent: list[str] = []
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        context = browser.new_context()
        context.add_cookies(cookies)
        page = context.new_page()
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data or ''}"))
        page.goto(f"{live_server.url}/tunnels/{tunnel.pk}/files")
        page.click("[data-make-key]")
        expect(page.locator("#public-key")).to_have_value(re.compile(r"^.{44}$"), timeout=PATIENCE_MS)
        page.click("main button[type=submit]")
        expect(page.locator("#configuration")).to_have_value(re.compile("PrivateKey"), timeout=PATIENCE_MS)
        text = page.input_value("#configuration")
        page.reload()
        assert "PrivateKey" not in page.input_value("#configuration")
        browser.close()
    private = re.findall(r"^PrivateKey = (\S{44})$", text, re.MULTILINE)[0]
    public = X25519PrivateKey.from_private_bytes(base64.b64decode(private)).public_key().public_bytes_raw()
    assert Tunnel.unscoped.get(pk=tunnel.pk).public_key == base64.b64encode(public).decode()
    assert not any(private in request or private.rstrip("=") in request for request in sent)
