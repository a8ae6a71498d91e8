"""What the product tells of: certificates, attacks, sign-ins."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import User
from domains.certificates import record_statuses
from domains.models import Certificate
from lumos_agent import protocol
from notifications import expiry, tasks
from notifications.models import KnownDevice, Notification
from tests.factories import PASSWORD, Tenant
from tests.unit.waf.test_attacks import tell

pytestmark = pytest.mark.django_db


def report(tenant: Tenant, state: Any, days: float = 0, reason: str = "") -> None:
    """Let a tenant's shield say where its certificate stands."""
    until = (timezone.now() + timedelta(days=days)).timestamp() if days else 0.0
    status = protocol.CertificateStatus(domain_id=str(tenant.domain.pk), state=state, reason=reason, not_after=until)
    with tenant.scope:
        record_statuses(server_id=tenant.server.pk, statuses=[status])


def told() -> list[str]:
    return list(Notification.unscoped.order_by("created_at").values_list("kind", flat=True))


def test_certificates_that_fail_and_are_renewed(alice: Tenant) -> None:
    report(alice, "provisioning")
    report(alice, "failed", reason="DNS does not point here")
    report(alice, "failed", reason="DNS does not point here")
    report(alice, "provisioning")
    report(alice, "failed", reason="DNS does not point here")
    assert told() == ["ssl_failed"]
    row = Notification.unscoped.get()
    assert (row.title, row.text) == ("No certificate for alice.example on alice-shield", "DNS does not point here")
    report(alice, "active", days=90)
    report(alice, "active", days=90 - 1e-6)
    report(alice, "renewing", days=30)
    assert told() == ["ssl_failed"]
    report(alice, "active", days=90)
    assert told() == ["ssl_failed", "ssl_renewed"]


def test_certificates_that_end_are_told_of_once_for_each_number_of_days(alice: Tenant, mallory: Tenant) -> None:
    report(mallory, "active", days=400)
    report(alice, "active", days=60)
    for days, count in ((20, 0), (13.9, 1), (13, 1), (6.5, 2), (0.9, 3), (0.5, 3), (-1, 3)):
        expires_at = Certificate.unscoped.get(account=alice.account).expires_at
        now = expires_at - timedelta(days=days)
        expiry.warn_of_certificates(now)
        expiry.warn_of_certificates(now)
        assert Notification.unscoped.count() == count, days
    rows = Notification.unscoped.order_by("created_at").values_list("data__days", "is_urgent", "account_id")
    assert list(rows) == [(14, False, alice.account.pk), (7, False, alice.account.pk), (1, True, alice.account.pk)]


def test_attack_is_told_once_however_many_shields_see_it(alice: Tenant) -> None:
    tell(alice, 1)
    tell(alice, 2)
    row = Notification.unscoped.get()
    assert (row.kind, row.title) == ("attack_detected", "alice.example is under attack")
    assert "510 requests a second, usually 10" in row.text
    tell(alice, 3, ended=timezone.now().timestamp())
    assert Notification.unscoped.count() == 1


def sign_in(user: User, address: str, user_agent: str = "Firefox") -> None:
    browser = Client(REMOTE_ADDR=address, headers={"user-agent": user_agent})
    answer = browser.post("/auth/login/", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302


def test_sign_in_from_elsewhere_is_told_to_the_person(alice: Tenant, bob: User, deliver: Any) -> None:
    sign_in(bob, "192.0.2.1")
    sign_in(bob, "192.0.2.200")
    assert told() == []
    sign_in(bob, "198.51.100.1")
    sign_in(bob, "198.51.100.2")
    sign_in(bob, "192.0.2.1", "Chrome")
    assert told() == ["new_login", "new_login"]
    row = Notification.unscoped.earliest("created_at")
    assert (row.account_id, row.data["address"]) == (alice.account.pk, "198.51.100.1")
    deliver()
    assert [sent.to for sent in mail.outbox] == [[bob.email], [bob.email]]
    assert "198.51.100.1" in mail.outbox[0].body


def test_old_rows_go(alice: Tenant, bob: User) -> None:
    report(alice, "failed")
    sign_in(bob, "192.0.2.1")
    tasks.hourly()
    assert Notification.unscoped.count() == KnownDevice.objects.count() == 1
    Notification.unscoped.update(created_at=timezone.now() - timedelta(days=31))
    KnownDevice.objects.update(seen_at=timezone.now() - timedelta(days=366))
    tasks.hourly()
    assert not Notification.unscoped.exists()
    assert not KnownDevice.objects.exists()
