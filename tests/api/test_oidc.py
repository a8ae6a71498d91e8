"""Sign-in with an OpenID provider that runs on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from accounts.models import Account, User
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


class Provider:
    """An OpenID provider that lets one person in without asking."""

    def __init__(self) -> None:
        self.person: dict[str, Any] = {}
        self.asked: list[dict[str, list[str]]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            """Discovery, token and userinfo."""

            def answer(self, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                is_person = self.path == "/me" and self.headers["Authorization"] == "Bearer t"
                self.answer(provider.person if is_person else provider.description())

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                provider.asked.append(parse_qs(self.rfile.read(size).decode()))
                self.answer({"access_token": "t", "token_type": "Bearer"})

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/me",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    """Run one, and name it in the settings."""
    found = Provider()
    app = {
        "provider_id": "oidc", "name": "Example", "client_id": "lumos", "secret": "s",
        "settings": {"server_url": found.url, "oauth_pkce_enabled": True},
    }  # fmt: skip
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def through(provider: Provider, client: Client) -> Any:
    """Go to the provider and come back."""
    there = client.get("/auth/oidc/oidc/login/").headers["location"]
    asked = parse_qs(urlsplit(there).query)
    assert there.startswith(f"{provider.url}/authorize?")
    assert asked["code_challenge_method"] == ["S256"]
    back = {"code": "c", "state": asked["state"][0]}
    return client.get("/auth/oidc/oidc/login/callback/", back)


def test_a_new_person_signs_up_with_the_providers_word(provider: Provider) -> None:
    provider.person = {"sub": "1", "email": "new@example.com", "email_verified": True, "name": "New"}
    client = Client()
    assert b"Sign in with Example" in client.get("/auth/login/").content
    assert through(provider, client).headers["location"] == "/auth/3rdparty/signup/"
    assert "code_verifier" in provider.asked[0]
    client.post("/auth/3rdparty/signup/", {"email": "new@example.com", "name": "New", "company": "New Ltd"})
    assert client.get("/servers").status_code == 200
    assert Account.objects.get(name="New Ltd").memberships.get().user.email == "new@example.com"
    again = Client()
    through(provider, again)
    assert again.get("/servers").status_code == 200


def test_a_verified_address_opens_the_persons_account_and_another_does_not(provider: Provider, alice: Tenant) -> None:
    provider.person = {"sub": "2", "email": "alice@example.com", "email_verified": False}
    client = Client()
    through(provider, client)
    assert client.get("/servers").status_code == 302
    provider.person["email_verified"] = True
    through(provider, client)
    assert b"alice-shield" in client.get("/servers").content
    assert User.objects.count() == 1


def test_a_foreign_state_is_refused(provider: Provider, alice: Tenant) -> None:
    provider.person = {"sub": "2", "email": "alice@example.com", "email_verified": True}
    client = Client()
    client.get("/auth/oidc/oidc/login/callback/", {"code": "c", "state": "forged"})
    assert client.get("/servers").status_code == 302


def test_without_a_provider_there_is_no_button() -> None:
    assert b"Sign in with" in Client().get("/auth/login/").content
    assert b"oidc" not in Client().get("/auth/login/").content
    assert Client().get("/auth/oidc/oidc/login/").status_code == 404
