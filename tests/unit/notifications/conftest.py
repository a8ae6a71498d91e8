"""Webhooks of these tests go to loopback."""

from typing import Any

import pytest

from lumos.net import Reach
from notifications import tasks
from notifications.models import Channel
from notifications.transports import webhook
from tests.conftest import Api


def local_reach(seconds: float = 20.0) -> Reach:
    """Return a reach that ends at this machine, where hooks.example is."""
    return Reach(
        admits=lambda ip: ip.is_loopback, ports=None, resolve=lambda name, port: ["127.0.0.1"], seconds=seconds,
        bytes_max=webhook.REACH.bytes_max,
    )  # fmt: skip


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let webhooks reach receivers on this machine, and nothing else."""
    monkeypatch.setattr(webhook, "REACH", local_reach())
    monkeypatch.setattr("notifications.channels.PORTS", None)


@pytest.fixture
def deliver(django_capture_on_commit_callbacks: Any) -> Any:
    """Run the jobs until everything that is due was told."""

    def run() -> None:
        with django_capture_on_commit_callbacks(execute=True):
            tasks.sweep()

    return run


def add_hook(api: Api, url: str, name: str = "hook") -> tuple[Channel, str]:
    """Add a webhook for errors of servers alone; the second item is its secret."""
    answered = api.post("/notification-channels", {"kind": "webhook", "name": name, "target": url})
    assert answered.status_code == 201, answered.json()
    return Channel.unscoped.get(pk=answered.json()["id"]), answered.json()["secret"]
