"""Chat services: what is taken, and that a message really goes to the service's host and nowhere else.

The services' hosts are played by a proxy of the test's own, which apprise's HTTP library is pointed at: it takes CONNECT,
notes the host, and speaks TLS with a certificate that the process trusts.
"""

import contextlib
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifications.kinds import Kind
from notifications.models import Attempt, Channel, Delivery
from notifications.outbox import record
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

DISCORD = "https://discord.com/api/webhooks/123456789012345678/" + "a1B2-" * 13
SLACK = "https://hooks.slack.com/services/T0123ABCD/B0123ABCD/abcdefghijklmnopqrstuvwx"
GOOGLE = "https://chat.googleapis.com/v1/spaces/AAAAabcdef/messages?key=AIzaSy0123456789&token=tok-0123456789%3D"
TELEGRAM = "123456789:AAE0123456789012345678901234567890x -1001234567890"
HOSTS = ["discord.com", "hooks.slack.com", "chat.googleapis.com", "api.telegram.org"]


class Services:
    """All chat services at once: what was sent to which host. `status` is the answer."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.status = 200
        self.hosts: list[str] = []
        self.requests: list[tuple[str, bytes]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._proxy, args=(self._listening.accept()[0],), daemon=True).start()

    def _proxy(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), raw:
            self.hosts.append(_head(raw)[0].split()[1].rpartition(":")[0])
            raw.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with self._context.wrap_socket(raw, server_side=True) as tls:
                lines, rest = _head(tls), b""
                length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
                while len(rest) < length and (more := tls.recv(65536)):
                    rest += more
                self.requests.append((lines[0], rest))
                good = b"ok" if self.hosts[-1] == "hooks.slack.com" else b'{"ok": true}'
                body = good if self.status == 200 else b"{}"
                tls.sendall(
                    b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                    % (self.status, len(body), body)
                )

    def close(self) -> None:
        """End it."""
        self._listening.close()


def _head(connection: Any) -> list[str]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := connection.recv(1)):
            raise OSError
        head += byte
    return head.decode().split("\r\n")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Play the chat services."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=chats", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    made = Services(context)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{made.port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    with contextlib.closing(made):
        yield made


def add_chat(api: Api, target: str) -> Channel:
    answered = api.post("/notification-channels", {"kind": "chat", "name": "chat", "target": target})
    assert answered.status_code == 201, answered.json()
    found: Channel = Channel.unscoped.get(kind="chat")
    return found


@pytest.mark.parametrize(
    ("target", "host", "shown"),
    [
        (DISCORD, "discord.com", "Discord"),
        (SLACK, "hooks.slack.com", "Slack"),
        (GOOGLE, "chat.googleapis.com", "Google Chat"),
        (TELEGRAM, "api.telegram.org", "Telegram to -1001234567890"),
    ],
)
def test_message_reaches_the_service(
    api: Api, alice: Tenant, deliver: Any, services: Services, target: str, host: str, shown: str
) -> None:
    channel = add_chat(api, target)
    assert channel.target == shown
    with alice.scope:
        record(
            Kind.SERVER_ERROR, key="k", title="Shield broke", text="@everyone line 3 <!channel>", server=alice.server
        )
    deliver()
    assert set(services.hosts) == {host}
    [(_, body)] = services.requests
    said = json.dumps(json.loads(body), ensure_ascii=False)
    assert "Shield broke" in said
    assert "line 3" in said
    assert "@everyone" not in said
    assert "<!channel>" not in said
    row = Attempt.unscoped.get(delivery__channel=channel)
    assert row.error == ""
    secret = target.rpartition("/")[2][:20]
    assert secret not in row.request + row.response
    text = json.dumps(api.get(f"/notification-channels/{channel.pk}").json())
    assert secret not in text


def test_service_that_refuses_is_asked_again_later(api: Api, alice: Tenant, deliver: Any, services: Services) -> None:
    channel = add_chat(api, SLACK)
    services.status = 404
    with alice.scope:
        record(Kind.SERVER_ERROR, key="k", title="Shield broke", text="line 3")
    deliver()
    row = Delivery.unscoped.get(channel=channel)
    assert (row.state, row.tries) == ("due", 1)
    assert "did not take it" in row.reason
    assert "abcdefghijklmnopqrstuvwx" not in row.reason + Attempt.unscoped.get(delivery=row).response


@pytest.mark.parametrize(
    "target",
    [
        "", "json://127.0.0.1/", "discord://1/2", "https://discord.com/api/webhooks/1/2", DISCORD + "?template=/etc/passwd",
        DISCORD + "/../../x", DISCORD.replace("discord.com", "discord.com.evil.example"), DISCORD.replace("discord.com", "127.0.0.1"),
        DISCORD.replace("https", "http"), "https://user@" + DISCORD[8:], SLACK + "\nX: y", TELEGRAM + "?template=/etc/passwd",
        "mailto://a:b@smtp.example", "tgram://1/2", "file:///etc/passwd", "https://hooks.slack.com@127.0.0.1/services/T0/B0/x",
    ],
)  # fmt: skip
def test_anything_else_is_refused(api: Api, alice: Tenant, target: str) -> None:
    answered = api.post("/notification-channels", {"kind": "chat", "name": "chat", "target": target})
    assert answered.status_code == 400
    assert "hooks.slack.com" in answered.json()["detail"]


def test_address_is_replaced_as_a_whole(api: Api, alice: Tenant) -> None:
    channel = add_chat(api, SLACK)
    assert api.patch(f"/notification-channels/{channel.pk}", {"name": "team", "target": "Slack"}).status_code == 200
    assert api.patch(f"/notification-channels/{channel.pk}", {"target": "nonsense"}).status_code == 400
    assert api.patch(f"/notification-channels/{channel.pk}", {"target": DISCORD}).json()["target"] == "Discord"
    channel.refresh_from_db()
    assert channel.secret is not None
    assert json.loads(channel.secret.reveal())["service"] == "Discord"
