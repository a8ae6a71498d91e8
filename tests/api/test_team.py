"""Invitations, roles, leaving: and an owner who always stays."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts import invitations, memberships
from accounts.api_keys import create_api_key
from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Role, User
from accounts.tenancy import tenant_scope
from lumos.errors import Conflict, Forbidden
from tests.api.test_sign_in import new_address
from tests.conftest import Api
from tests.factories import Tenant, member, person, tenant

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


def invited(alice: Tenant, signed_in: SignedIn, email: str, role: str = "member") -> str:
    """Invite by the page; return the path of the link in the message."""
    from django.test import TestCase

    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = signed_in(alice.owner).post("/team/invite", {"email": email, "role": role})
    assert answer.status_code == 302
    assert mail.outbox[-1].to == [email]
    found = re.search(r"/invitations/\S+", str(mail.outbox[-1].body))
    assert found is not None
    return found[0]


def test_an_invitation_makes_a_member_once(alice: Tenant, signed_in: SignedIn) -> None:
    carol = person("carol")
    path = invited(alice, signed_in, "carol@example.com")
    client = signed_in(carol)
    assert "Join alice" in client.get(path).content.decode()
    assert client.get("/servers").status_code == 403
    assert client.post(path).status_code == 302
    assert "alice-shield" in client.get("/servers").content.decode()
    assert Membership.objects.get(user=carol).role == "member"
    assert client.post(path).status_code == 404
    with alice.scope:
        actions = list(AuditEntry.objects.filter(action__startswith="member.").values_list("action", flat=True))
    assert actions == ["member.joined", "member.invited"]


def test_an_invitation_is_for_its_address_and_for_seven_days(alice: Tenant, signed_in: SignedIn) -> None:
    path = invited(alice, signed_in, "carol@example.com")
    stranger = person("eve")
    signed_in(stranger).post(path)
    assert not Membership.objects.filter(user=stranger).exists()
    with alice.scope:
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert signed_in(person("carol")).post(path).status_code == 404


def test_a_new_person_signs_up_by_an_invitation(alice: Tenant, signed_in: SignedIn) -> None:
    email = new_address()
    path = invited(alice, signed_in, email, "viewer")
    client, password = Client(), "a long enough phrase"
    assert email in client.get(path).content.decode()
    form = {"email": email, "password1": password, "password2": password, "name": "New"}
    client.post("/auth/signup/", form)
    confirm = re.search(r"/auth/confirm-email/\S+", str(mail.outbox[-1].body))
    assert confirm is not None
    client.post(confirm[0])
    client.post("/auth/login/", {"login": email, "password": password})
    user = User.objects.get(email=email)
    assert path in client.get("/").content.decode()
    client.post(path)
    assert [row.account for row in Membership.objects.filter(user=user)] == [alice.account]


def test_only_owners_touch_owners(alice: Tenant) -> None:
    adam = member(alice.account, "adam", Role.ADMIN)
    owner, other = Membership.objects.get(user=alice.owner), member(alice.account, "carol", Role.MEMBER)
    with alice.scope:
        with pytest.raises(Forbidden):
            memberships.change_role(membership=owner, role="viewer", actor=adam)
        with pytest.raises(Forbidden):
            memberships.remove_member(membership=owner, actor=adam)
        with pytest.raises(Forbidden):
            memberships.change_role(membership=Membership.objects.get(user=other), role="owner", actor=adam)
        with pytest.raises(Forbidden):
            invitations.invite(account=alice.account, email="x@example.com", role="owner", actor=adam)


def test_the_last_owner_stays(alice: Tenant, signed_in: SignedIn) -> None:
    row = Membership.objects.get(user=alice.owner)
    with alice.scope:
        with pytest.raises(Conflict):
            memberships.change_role(membership=row, role="viewer", actor=alice.owner)
        with pytest.raises(Conflict):
            memberships.remove_member(membership=row, actor=alice.owner)
    client = signed_in(alice.owner)
    client.post("/team/leave")
    assert client.get("/servers").status_code == 200
    member(alice.account, "carol", Role.OWNER)
    client.post("/team/leave")
    assert client.get("/servers").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_two_owners_cannot_demote_each_other_at_once() -> None:
    here = tenant("alice", "alice.example")
    owners = [here.owner, member(here.account, "carol", Role.OWNER)]

    def demote(number: int) -> bool:
        try:
            with tenant_scope(here.account.pk):
                row = Membership.objects.get(user=owners[number])
                memberships.change_role(membership=row, role="viewer", actor=owners[1 - number])
        except (Conflict, Forbidden):
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(demote, range(2))) == [False, True]
    assert Membership.objects.filter(account=here.account, role="owner").count() == 1


def test_a_removed_member_and_its_keys_are_out_at_once(alice: Tenant, signed_in: SignedIn, api: Api) -> None:
    adam = member(alice.account, "adam", Role.ADMIN)
    with alice.scope:
        _, key = create_api_key(name="adam's", scope="read", actor=adam)
    theirs = signed_in(adam)
    assert theirs.get("/servers").status_code == 200
    assert Api(key).get("/servers").status_code == 200
    assert signed_in(alice.owner).post(f"/team/{adam.pk}/remove").status_code == 302
    assert theirs.get("/servers").status_code == 403
    assert Api(key).get("/servers").status_code == 401
    with alice.scope:
        assert not ApiKey.objects.filter(created_by=adam).exists()


def test_a_lowered_role_holds_at_the_next_request(alice: Tenant, signed_in: SignedIn) -> None:
    adam = member(alice.account, "adam", Role.ADMIN)
    theirs = signed_in(adam)
    assert theirs.get("/api-keys").status_code == 200
    signed_in(alice.owner).post(f"/team/{adam.pk}/role", {"role": "viewer"})
    assert theirs.get("/api-keys").status_code == 403


def test_inviting_again_ends_the_old_link_and_members_are_not_invited(alice: Tenant, signed_in: SignedIn) -> None:
    first = invited(alice, signed_in, "carol@example.com")
    second = invited(alice, signed_in, "carol@example.com", "viewer")
    client: Any = signed_in(person("carol"))
    assert client.get(first).status_code == 404
    assert client.get(second).status_code == 200
    with alice.scope, pytest.raises(Conflict):
        invitations.invite(account=alice.account, email="ALICE@example.com", role="viewer", actor=alice.owner)
