"""What shields say of thousands of certificates, at each connection again."""

import datetime
from typing import Any

import pytest
from django.utils import timezone

from domains.certificates import record_statuses
from domains.models import Certificate, DomainServer
from domains.models import Domain as DomainRow
from lumos_agent.protocol import CertificateStatus
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
COUNT = 60


@pytest.fixture
def domain_ids(alice: Tenant) -> list[str]:
    """The ids of some domains on Alice's shield."""
    with alice.scope:
        rows = [DomainRow(account=alice.account, hostname=f"d{n}.example") for n in range(COUNT)]
        DomainRow.objects.bulk_create(rows)
        DomainServer.objects.bulk_create(
            [DomainServer(account=alice.account, domain=row, server=alice.server, position=0) for row in rows]
        )
    return [str(row.pk) for row in rows]


def tell(tenant: Tenant, domain_ids: list[str], **status: Any) -> dict[str, Certificate]:
    """Let a tenant's shield say the same of some domains; returns what the account then knows by domain id."""
    with tenant.scope:
        statuses = [CertificateStatus(domain_id=domain_id, **status) for domain_id in domain_ids]
        record_statuses(server_id=tenant.server.pk, statuses=statuses)
        return {str(row.domain_id): row for row in Certificate.objects.all()}


def test_statuses_are_kept_in_a_constant_number_of_queries(
    alice: Tenant, domain_ids: list[str], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(6):
        known = tell(alice, domain_ids, state="active", not_after=2e9)
    assert known.keys() == set(domain_ids)
    until = datetime.datetime.fromtimestamp(2e9, datetime.UTC)
    assert {(row.status, row.expires_at) for row in known.values()} == {("active", until)}
    with django_assert_max_num_queries(6):
        known = tell(alice, domain_ids[:-1], state="renewing", not_after=2e9)
    assert [row.status for row in known.values()].count("renewing") == COUNT - 1


def test_what_is_known_already_is_not_written_again(alice: Tenant, domain_ids: list[str]) -> None:
    before = tell(alice, domain_ids, state="active", not_after=1_999_999_999.25)
    after = tell(alice, domain_ids, state="active", not_after=1_999_999_999.25)
    assert {row.changed_at for row in after.values()} == {row.changed_at for row in before.values()}
    assert after[domain_ids[0]].pk == before[domain_ids[0]].pk
    since = timezone.now()
    after = tell(alice, domain_ids[:1], state="renewing", not_after=1_999_999_999.25)
    assert [pk for pk, row in after.items() if row.changed_at > since] == domain_ids[:1]


def test_the_last_word_of_one_message_counts(alice: Tenant, domain_ids: list[str]) -> None:
    statuses = [CertificateStatus(domain_id=domain_ids[0], state=state) for state in ("provisioning", "active")]
    with alice.scope:
        record_statuses(server_id=alice.server.pk, statuses=statuses)
        assert Certificate.objects.get().status == "active"


def test_shield_cannot_speak_of_domains_that_it_does_not_carry(
    alice: Tenant, mallory: Tenant, domain_ids: list[str]
) -> None:
    assert tell(mallory, domain_ids, state="active", not_after=2e9) == {}
    with alice.scope:
        assert not Certificate.objects.exists()
