"""The budget of certificate orders over all shields of an account."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from domains import orders
from domains.models import CertificateOrder, Domain
from domains.services import OriginData, add_domain
from lumos_agent.protocol import OrderAnswer
from servers.models import Server
from servers.services import add_server
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
LETS_ENCRYPT = next(iter(orders.LIMITS))


@pytest.fixture(autouse=True)
def ca(settings: Any) -> None:
    settings.ACME = {"directory_url": LETS_ENCRYPT, "email": ""}


@pytest.fixture
def scope(alice: Tenant) -> Iterator[None]:
    with alice.scope:
        yield


def asked(server: Server, domain: Domain) -> OrderAnswer:
    return orders.order_answer(server_id=server.pk, domain_id=str(domain.pk))


def site(tenant: Tenant, hostname: str, *servers: Server) -> Domain:
    origins = [OriginData(address="127.0.0.1", port=80)]
    return add_domain(hostname=hostname, origins=origins, servers=servers or [tenant.server], actor=tenant.owner)


def age(**ago: int) -> None:
    CertificateOrder.objects.update(created_at=timezone.now() - timedelta(**ago))


def test_sixth_order_for_a_name_waits_whichever_shield_asks(alice: Tenant, scope: None) -> None:
    shields = [add_server(name=f"s{n}", actor=alice.owner)[0] for n in range(6)]
    domain = site(alice, "shop.example.com", *shields)
    assert all(asked(shield, domain).is_granted for shield in shields[:5])
    held = asked(shields[5], domain)
    assert not held.is_granted
    assert "your shields ordered 5 certificates for shop.example.com within a week" in held.reason
    assert 6 * 86_400 < held.retry_seconds <= 7 * 86_400
    age(days=7, minutes=1)
    assert asked(shields[5], domain).is_granted


def test_names_below_one_registered_domain_share_fifty(alice: Tenant, scope: None) -> None:
    sites = [site(alice, f"d{n}.example.co.uk") for n in range(51)]
    assert all(asked(alice.server, one).is_granted for one in sites[:50])
    assert "below example.co.uk" in asked(alice.server, sites[50]).reason
    assert asked(alice.server, site(alice, "d.other.co.uk")).is_granted


def test_failing_name_is_asked_for_five_times_an_hour_at_most(alice: Tenant, scope: None) -> None:
    answers = [asked(alice.server, alice.domain) for _ in range(6)]
    assert [one.is_granted for one in answers] == [True] * 5 + [False]
    assert "alice-shield ordered 5 times for alice.example within an hour" in answers[5].reason
    assert answers[5].retry_seconds <= 3600


def test_domain_that_is_removed_takes_its_orders_not_along(alice: Tenant, scope: None) -> None:
    for _ in range(5):
        asked(alice.server, alice.domain)
    alice.domain.delete()
    again = site(alice, "alice.example")
    assert not asked(alice.server, again).is_granted


def test_other_accounts_and_other_cas_are_counted_apart(alice: Tenant, mallory: Tenant, settings: Any) -> None:
    with alice.scope:
        for _ in range(5):
            asked(alice.server, alice.domain)
        assert not asked(alice.server, alice.domain).is_granted
        foreign = orders.order_answer(server_id=alice.server.pk, domain_id=str(mallory.domain.pk))
        assert "no longer on this shield" in foreign.reason
    with mallory.scope:
        site(mallory, "alice.example")
        assert asked(mallory.server, Domain.objects.get(hostname="alice.example")).is_granted
    settings.ACME = {"directory_url": "https://ca.internal/dir", "email": ""}
    with alice.scope:
        assert asked(alice.server, alice.domain).is_granted


def test_old_orders_are_forgotten(alice: Tenant, scope: None) -> None:
    asked(alice.server, alice.domain)
    orders.forget_old_orders()
    assert CertificateOrder.objects.count() == 1
    age(days=9)
    orders.forget_old_orders()
    assert CertificateOrder.objects.count() == 0


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("example.com", "example.com"), ("a.b.example.com", "example.com"), ("*.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"), ("co.uk", "co.uk"), ("shop.example.de", "example.de"),
        ("a.com.example.de", "example.de"), ("a.b.kobe.jp", "a.b.kobe.jp"), ("x.y.github.io", "y.github.io"),
    ],
)  # fmt: skip
def test_registered_domain(hostname: str, expected: str) -> None:
    assert orders.registered_domain(hostname) == expected
