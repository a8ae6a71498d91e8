"""Attacks as shields tell them: stored once, shown while they go on, on the right account's pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from lumos_agent import protocol
from servers.metrics import ingest
from tests.conftest import Api
from tests.factories import Tenant
from waf.attacks import SILENT, expire_attacks
from waf.models import Attack

pytestmark = pytest.mark.django_db


def tell(tenant: Tenant, seq: int, *domain_ids: Any, **changes: Any) -> None:
    """Let a tenant's shield tell of an attack on domains."""
    values: dict[str, Any] = {
        "began": (timezone.now() - timedelta(minutes=5)).timestamp(), "reason": "requests", "is_checked": True,
        "requests_per_second": 510.0, "normal_per_second": 10.5, "peak_per_second": 900.0,
    } | changes  # fmt: skip
    attacks = tuple(protocol.Attack(domain_id=str(pk), **values) for pk in domain_ids or [tenant.domain.pk])
    boot_id = "00000000-0000-0000-0000-000000000001"
    with tenant.scope:
        assert ingest(server_id=tenant.server.pk, batch=protocol.Batch(boot_id=boot_id, seq=seq, attacks=attacks))


def test_begin_and_end_are_one_attack(api: Api, alice: Tenant, mallory: Tenant, signed_in: Any) -> None:
    began = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC).timestamp()
    tell(alice, 1, began=began)
    tell(alice, 2, began=began)
    [found] = api.get(f"/attacks?now=true&domain={alice.domain.pk}").json()["results"]
    assert (found["reason"], found["ended_at"], found["requests"], found["is_checked"]) == ("requests", None, 510, True)
    client, pages = signed_in(alice.owner), ("/", f"/domains/{alice.domain.pk}", f"/domains/{alice.domain.pk}/waf")
    for page in pages:
        text = client.get(page).content.decode()
        assert "is under attack" in text, page
        assert "many more requests than usual, 900 requests a second at most, usually 10.5" in text
    tell(alice, 3, began=began, ended=began + 400, peak_per_second=1000.0)
    assert api.get("/attacks?now=true").json()["results"] == []
    [found] = api.get("/attacks").json()["results"]
    assert found["ended_at"].startswith("2026-01-02T03:10:45")
    assert found["peak"] == 1000
    for page in pages:
        assert "is under attack" not in client.get(page).content.decode()
    assert "03:10:45" in client.get(pages[-1]).content.decode()
    assert "03:10:45" not in signed_in(mallory.owner).get(f"/domains/{mallory.domain.pk}/waf").content.decode()


def test_domains_of_others_and_domains_that_are_gone_are_ignored(alice: Tenant, mallory: Tenant) -> None:
    tell(alice, 1, mallory.domain.pk, alice.server.pk, alice.domain.pk)
    assert list(Attack.unscoped.values_list("domain_id", flat=True)) == [alice.domain.pk]


def test_attack_of_a_shield_that_fell_silent_goes_on_no_more(api: Api, alice: Tenant, signed_in: Any) -> None:
    tell(alice, 1)
    Attack.unscoped.update(told_at=timezone.now() - SILENT - timedelta(seconds=1))
    assert api.get("/attacks?now=true").json()["results"] == []
    text = signed_in(alice.owner).get(f"/domains/{alice.domain.pk}/waf").content.decode()
    assert "is under attack" not in text
    assert "not told" in text


def test_attacks_are_kept_for_a_while(alice: Tenant) -> None:
    tell(alice, 1)
    tell(alice, 2, began=(timezone.now() - timedelta(days=31)).timestamp())
    assert expire_attacks(timezone.now() - timedelta(days=30)) == 1
    assert Attack.unscoped.count() == 1
