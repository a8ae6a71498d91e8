"""Webhooks: signed, retried until the receiver is back, bounded whatever the receiver does, never twice at once."""

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import connection, connections
from django.utils import timezone

from accounts.tenancy import tenant_scope
from lumos_agent import protocol
from notifications import delivery, failures
from notifications.kinds import Kind
from notifications.models import Attempt, Channel, Delivery, Notification
from notifications.outbox import record, route_due
from notifications.signing import signature
from notifications.transports import KEPT_CHARACTERS, webhook
from servers import revisions
from servers.models import epoch
from tests.conftest import Api
from tests.factories import Tenant
from tests.unit.notifications.conftest import add_hook, local_reach
from tests.unit.notifications.receiver import answer, closes_early, never_ends, receiver, says

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]


def happen(tenant: Tenant, count: int = 1) -> None:
    """Let things happen in an account."""
    with tenant.scope:
        for number in range(count):
            key = f"{number} {Notification.objects.count()}"
            record(Kind.SERVER_DOWN, key=key, title=f"Down {number}", data={"number": number}, server=tenant.server)


def later(**passes: float) -> None:
    """Let time pass for everything that waits."""
    by = timedelta(**passes)
    for row in Delivery.unscoped.all():
        Delivery.unscoped.filter(pk=row.pk).update(next_at=row.next_at - by, expires_at=row.expires_at - by)
    for channel in Channel.unscoped.all():
        moved = {
            name: None if (at := getattr(channel, name)) is None else at - by
            for name in ("rests_until", "failing_since", "claimed_until", "previous_until")
        }
        Channel.unscoped.filter(pk=channel.pk).update(**moved)


def test_signature_is_the_one_of_the_standard() -> None:
    # The example of the specification's own libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = signature(secret, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def verified(request: Any, secret: str) -> bool:
    """Check a request as a receiver does."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}" in request.headers["webhook-signature"].split(" ")


def test_cause_becomes_a_signed_webhook(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        _, secret = add_hook(api, hook.url)
        report = protocol.Failed(
            epoch=epoch(),
            revision=alice.server.revision,
            digest="0" * 64,
            stage="check",
            message="no",
            rolled_back=True,
        )
        with alice.scope:
            revisions.record_failed(server_id=alice.server.pk, report=report)
        deliver()
    [got] = hook.requests
    assert verified(got, secret)
    assert got.headers["content-type"] == "application/json"
    said = json.loads(got.body)
    assert (said["type"], said["data"]["reason"]) == ("server_error", "config_update_failed")
    assert said["data"]["server"] == {"id": str(alice.server.pk), "name": "alice-shield"}
    assert said["timestamp"].endswith("Z")
    row = Attempt.unscoped.get(delivery__channel__kind="webhook")
    assert (row.status, row.error) == (204, "")
    assert got.headers["webhook-signature"] in row.request


def test_rotation_signs_with_both_secrets_for_a_day(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        channel, old = add_hook(api, hook.url)
        new = api.post(f"/notification-channels/{channel.pk}/rotate-secret").json()["secret"]
        assert new != old
        happen(alice)
        deliver()
        later(hours=25)
        happen(alice)
        deliver()
    first, second = hook.requests
    assert [verified(first, old), verified(first, new)] == [True, True]
    assert [verified(second, old), verified(second, new)] == [False, True]


def test_secrets_are_encrypted_and_shown_once(api: Api, alice: Tenant, signed_in: Any) -> None:
    channel, secret = add_hook(api, "https://hooks.example/in")
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM notifications_channel WHERE secret IS NOT NULL")
        [(stored,)] = cursor.fetchall()
    assert secret not in stored
    assert channel.secret is not None
    assert channel.secret.reveal() == secret
    assert secret not in repr(channel.secret)
    page = signed_in(alice.owner).get(f"/notifications/channels/{channel.pk}").content.decode()
    assert secret not in page + api.get(f"/notification-channels/{channel.pk}").content.decode()


@pytest.mark.parametrize(
    ("manner", "status", "error"),
    [
        (says(500, b"broken"), 500, "status 500"),
        (says(404), 404, "status 404"),
        (says(302, Location="http://169.254.169.254/"), 302, "Redirects are not followed"),
        (closes_early, None, "closed"),
    ],
)
def test_what_is_not_taken_is_tried_again_with_the_same_id(
    api: Api, alice: Tenant, deliver: Any, manner: Any, status: int | None, error: str
) -> None:
    with receiver() as hook:
        add_hook(api, hook.url)
        hook.manner = manner
        happen(alice)
        deliver()
        row = Delivery.unscoped.get(channel__kind="webhook")
        assert (row.state, row.tries) == ("due", 1)
        assert row.next_at > timezone.now()
        deliver()
        assert len(hook.requests) == 1
        hook.manner = says(200, b"thanks")
        later(minutes=1)
        deliver()
    assert len(set(hook.ids())) == 1
    assert len(hook.requests) == 2
    tried = list(Attempt.unscoped.filter(delivery__channel__kind="webhook").order_by("created_at"))
    assert [attempt.status for attempt in tried] == [status, 200]
    assert error in tried[0].error
    assert tried[1].response == "thanks"
    [found] = api.get("/notification-deliveries?kind=server_down&state=delivered").json()["results"][:1]
    assert found["tries"] in {1, 2}


def test_receiver_that_is_down_for_an_hour_gets_everything(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        add_hook(api, hook.url)
        hook.manner = closes_early
        happen(alice, 3)
        for _ in range(12):
            deliver()
            later(minutes=5)
        happen(alice)
        assert not Delivery.unscoped.filter(channel__kind="webhook", state="delivered").exists()
        lost = len(hook.requests)
        assert lost < 40
        hook.manner = says(204)
        later(minutes=5)
        deliver()
    assert len(set(hook.ids()[lost:])) == 4
    assert len(hook.requests[lost:]) == 4
    assert not Delivery.unscoped.exclude(state="delivered").exists()


def test_one_event_that_is_refused_does_not_hold_up_others(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        add_hook(api, hook.url)

        def picky(handler: Any) -> None:
            answer(handler, 500 if b'"number":0' in hook.requests[-1].body else 204)

        hook.manner = picky
        happen(alice, 3)
        deliver()
        later(seconds=10)
        deliver()
    states = sorted(Delivery.unscoped.filter(channel__kind="webhook").values_list("state", flat=True))
    assert states == ["delivered", "delivered", "due"]


def test_after_a_day_a_delivery_is_given_up_and_can_be_sent_again(
    api: Api, alice: Tenant, deliver: Any, signed_in: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with receiver() as hook:
        add_hook(api, hook.url)
        hook.manner = says(503, Retry_After="7200")
        happen(alice)
        for _ in range(30):
            deliver()
            later(hours=1)
        row = Delivery.unscoped.get(channel__kind="webhook")
        assert row.state == "failed"
        assert 10 < row.tries < 20
        page = signed_in(alice.owner).get(f"/notifications/{row.notification_id}").content.decode()
        assert "The receiver answered with status 503." in page
        hook.manner = says(204)
        with django_capture_on_commit_callbacks(execute=True):
            assert api.post(f"/notification-deliveries/{row.pk}/resend").status_code == 200
    row.refresh_from_db()
    assert row.state == "delivered"
    assert len(set(hook.ids())) == 1


def test_channel_that_fails_for_days_is_switched_off_and_told_of(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        channel, _ = add_hook(api, hook.url)
        hook.manner = says(500)
        for _ in range(failures.TRIES_BEFORE_DISABLED + 2):
            happen(alice)
            deliver()
            later(hours=8)
        channel.refresh_from_db()
        assert not channel.enabled
        before = len(hook.requests)
        happen(alice)
        deliver()
        assert len(hook.requests) == before
    told = Delivery.unscoped.get(notification__kind="channel_disabled")
    assert (told.channel.kind, told.state) == ("email", "delivered")
    assert not Delivery.unscoped.filter(channel=channel, state="due").exists()
    assert api.post(f"/notification-channels/{channel.pk}/test").status_code == 409
    api.patch(f"/notification-channels/{channel.pk}", {"enabled": True})
    channel.refresh_from_db()
    assert (channel.failures, channel.failing_since, channel.disabled_reason) == (0, None, "")


def test_receiver_that_is_gone_is_left_alone_at_once(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        channel, _ = add_hook(api, hook.url)
        hook.manner = says(410)
        happen(alice, 2)
        deliver()
    channel.refresh_from_db()
    assert not channel.enabled
    assert "410" in channel.disabled_reason
    assert len(hook.requests) == 1


def test_channel_that_is_removed_while_it_is_told(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        channel, _ = add_hook(api, hook.url)
        happen(alice)
        route_due()
        told = webhook.send

        def slow(*args: Any) -> Any:
            sent = told(*args)
            api.delete(f"/notification-channels/{channel.pk}")
            return sent

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(delivery.TRANSPORTS, "webhook", slow)
            assert drain(channel) is False
    assert not Attempt.unscoped.filter(delivery__channel=channel.pk).exists()


def test_of_an_endless_answer_only_the_beginning_is_read(api: Api, alice: Tenant, deliver: Any) -> None:
    with receiver() as hook:
        add_hook(api, hook.url)
        hook.manner = never_ends
        happen(alice)
        deliver()
    row = Attempt.unscoped.get(delivery__channel__kind="webhook")
    assert (row.status, len(row.response)) == (200, KEPT_CHARACTERS)


def test_slow_receiver_is_hung_up_on(api: Api, alice: Tenant, deliver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "REACH", local_reach(0.5))
    done = threading.Event()
    with receiver() as hook:
        add_hook(api, hook.url)
        hook.manner = held(done)
        happen(alice)
        deliver()
        done.set()
    assert "did not answer within" in Attempt.unscoped.get(delivery__channel__kind="webhook").error


def test_test_button_shows_how_it_went(
    api: Api, alice: Tenant, signed_in: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with receiver() as hook:
        channel, _ = add_hook(api, hook.url)
        client = signed_in(alice.owner)
        with django_capture_on_commit_callbacks(execute=True):
            answered = client.post(f"/notifications/channels/{channel.pk}/test")
        assert json.loads(hook.requests[0].body)["type"] == "test"
        assert "204" in client.get(answered["Location"]).content.decode()


def in_thread(work: Any, *args: Any) -> Any:
    """Run with connections of its own, as a worker's thread does."""
    try:
        return work(*args)
    finally:
        connections.close_all()


def drain(channel: Channel) -> bool:
    with tenant_scope(channel.account_id):
        return delivery.drain(channel_id=channel.pk)


@pytest.fixture
def queued(transactional_db: None) -> Iterator[None]:
    """Let jobs wait in the broker's queue instead of running where they are started; for several workers at once."""
    if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
        pytest.skip("workers cannot share a database in memory")
    current_app.conf.task_always_eager = False
    yield
    current_app.conf.task_always_eager = True


def held(release: threading.Event) -> Any:
    """Return the manner of a receiver that answers when it is let."""

    def manner(handler: Any) -> None:
        release.wait(60)
        answer(handler, 204)

    return manner


@pytest.mark.usefixtures("queued")
@pytest.mark.django_db(transaction=True)
def test_hanging_receivers_of_one_account_leave_workers_for_others(alice: Tenant, mallory: Tenant, api: Api) -> None:
    release = threading.Event()
    with receiver() as bad, receiver() as good, ThreadPoolExecutor(delivery.CHANNELS_AT_ONCE + 1) as workers:
        bad.manner = held(release)
        hostile = [add_hook(Api(mallory.api_key), bad.url, f"hook {number}")[0] for number in range(10)]
        own, _ = add_hook(api, good.url)
        happen(mallory, 5)
        happen(alice)
        in_thread(route_due)
        jobs = [workers.submit(in_thread, drain, channel) for channel in (*hostile, *hostile, own)]
        assert good.arrived.acquire(timeout=60)
        assert jobs[-1].result(timeout=60) is False
        assert len(bad.requests) <= delivery.CHANNELS_AT_ONCE
        release.set()
        for job in jobs:
            job.result(timeout=60)
        for channel in hostile:
            while drain(channel):
                pass
    assert len(bad.requests) == 50
    assert len(set(bad.ids())) == 5


@pytest.mark.usefixtures("queued")
@pytest.mark.django_db(transaction=True)
def test_two_workers_never_tell_the_same_at_once(alice: Tenant, api: Api) -> None:
    with receiver() as hook, ThreadPoolExecutor(6) as workers:
        channel, _ = add_hook(api, hook.url)
        happen(alice, 12)
        list(workers.map(lambda _: in_thread(route_due), range(6)))
        list(workers.map(lambda _: in_thread(drain, channel), range(6)))
        while drain(channel):
            pass
    assert len(hook.requests) == len(set(hook.ids())) == 12


WORKER = """
import sys, django
django.setup()
from accounts.tenancy import tenant_scope
from notifications import delivery
from notifications.transports import webhook
from tests.unit.notifications.conftest import local_reach
webhook.REACH = local_reach()
with tenant_scope(sys.argv[1]):
    delivery.drain(channel_id=sys.argv[2])
"""


@pytest.mark.usefixtures("queued")
@pytest.mark.django_db(transaction=True)
def test_worker_that_is_killed_loses_nothing(alice: Tenant, api: Api) -> None:
    release = threading.Event()
    with receiver() as hook:
        hook.manner = held(release)
        channel, _ = add_hook(api, hook.url)
        happen(alice)
        route_due()
        name, given = connection.settings_dict["NAME"], os.environ["DATABASE_URL"]
        database = f"sqlite:///{name}" if connection.vendor == "sqlite" else f"{given.rpartition('/')[0]}/{name}"
        worker = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(alice.account.pk), str(channel.pk)],
            env={**os.environ, "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "lumos.settings.test"},
        )
        assert hook.arrived.acquire(timeout=90)
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)
        release.set()
        assert drain(channel) is False  # its lease still stands
        assert len(hook.requests) == 1
        later(seconds=delivery.LEASE.total_seconds())
        drain(channel)
    assert Delivery.unscoped.get(channel=channel).state == "delivered"
    assert len(hook.requests) == 2
    assert len(set(hook.ids())) == 1
