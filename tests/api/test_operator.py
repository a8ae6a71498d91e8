"""The operator's admin: staff with a second factor and nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from tests.factories import PASSWORD, Tenant, person

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


@pytest.fixture
def operator() -> User:
    """Staff without a second factor."""
    found = person("olga")
    found.is_staff = found.is_superuser = True
    found.save()
    return found


def with_factor(user: User) -> User:
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return user


def test_only_staff_with_a_second_factor_gets_in(alice: Tenant, operator: User, signed_in: SignedIn) -> None:
    visitor = Client().get("/operator/", follow=True)
    assert visitor.redirect_chain[-1][0].startswith("/auth/login/")
    assert Client().post("/operator/login/", {"username": "olga@example.com", "password": PASSWORD}).status_code == 302
    with_factor(alice.owner)
    assert signed_in(alice.owner).get("/operator/", follow=True).status_code == 403
    olga = signed_in(operator)
    assert olga.get("/operator/", follow=True).redirect_chain[-1][0] == "/auth/2fa/"
    with_factor(operator)
    assert olga.get("/operator/").status_code == 200


def test_every_page_of_the_admin_works(alice: Tenant, operator: User, signed_in: SignedIn) -> None:
    client: Any = signed_in(with_factor(operator))
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert client.get(reverse(f"{name}_changelist"), {"q": "alice"}).status_code == 200
        manager: Any = getattr(model, "unscoped", model._default_manager)
        if (row := manager.first()) is not None:
            assert client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200


def test_an_operators_change_is_in_the_accounts_own_log(alice: Tenant, operator: User, signed_in: SignedIn) -> None:
    client = signed_in(with_factor(operator))
    inline = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    client.post(f"/operator/accounts/account/{alice.account.pk}/change/", {"name": "Renamed", **inline})
    with alice.scope:
        entry = AuditEntry.objects.get(action="account.changed")
    assert (entry.actor, entry.via, entry.changes) == (operator, "operator", {"name": ["alice's", "Renamed"]})


def test_lost_second_factors_are_removed_and_people_locked_out(
    alice: Tenant, operator: User, signed_in: SignedIn
) -> None:
    client, theirs = signed_in(with_factor(operator)), signed_in(with_factor(alice.owner))
    form = {"action": "remove_second_factors", "_selected_action": [str(alice.owner.pk)]}
    client.post("/operator/accounts/user/", form)
    assert not Authenticator.objects.filter(user=alice.owner).exists()
    assert theirs.get("/servers").status_code == 200
    client.post(f"/operator/accounts/user/{alice.owner.pk}/change/", {"is_staff": ""})
    assert theirs.get("/servers").status_code == 302
