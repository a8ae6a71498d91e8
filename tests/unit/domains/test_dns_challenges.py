"""Challenges of wildcards go to the servers of their zone, whether they carry the domain or not."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from domains import certificates, zones
from domains.services import OriginData, add_domain
from lumos_agent.protocol import ChallengePublish
from servers.models import Server
from servers.services import add_server
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def published(domain_id: uuid.UUID) -> ChallengePublish:
    return ChallengePublish(domain_id=str(domain_id), token="t", key_authorization="t.k")


def test_all_servers_of_the_zone_answer(alice: Tenant) -> None:
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4="192.0.2.10")
        second, _ = add_server(name="second", actor=alice.owner, public_ipv4="192.0.2.20")
        Server.objects.filter(pk=second.pk).update(lease_until=timezone.now() + timedelta(hours=1))
        first = Server.objects.get(pk=alice.server.pk)
        zones.add_zone(name="alice.example", servers=[first, second], actor=alice.owner)
        origins = [OriginData(address="127.0.0.1", port=80)]
        wild = add_domain(hostname="*.shop.alice.example", origins=origins, servers=[first], actor=alice.owner)
        assert certificates.publish_challenge(server_id=first.pk, published=published(wild.pk))
        relayed = certificates.relayed_challenges(second.pk)
        assert (relayed.entries, relayed.dns) == ({"t": "t.k"}, {"t": "*.shop.alice.example"})
        assert certificates.readiness(first.pk) == {"t": 1}
        certificates.record_held(server_id=second.pk, tokens=("t",))
        assert certificates.readiness(first.pk) == {"t": 0}
        certificates.withdraw_challenges(server_id=first.pk, tokens=("t",))
        assert not certificates.relayed_challenges(second.pk).entries


def test_other_domains_are_answered_by_their_own_servers(alice: Tenant) -> None:
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(public_ipv4="192.0.2.10")
        second, _ = add_server(name="second", actor=alice.owner, public_ipv4="192.0.2.20")
        first = Server.objects.get(pk=alice.server.pk)
        zones.add_zone(name="alice.example", servers=[first, second], actor=alice.owner)
        assert not certificates.publish_challenge(server_id=first.pk, published=published(alice.domain.pk))
        assert not certificates.relayed_challenges(second.pk).entries
