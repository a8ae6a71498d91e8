"""The table of roles itself."""

import pytest

from accounts.models import Role, Scope
from accounts.roles import TABLE, Action, Grants, Thing


def test_the_table_has_every_thing_and_role() -> None:
    assert set(TABLE) == set(Thing)
    assert all(set(row) == set(Role.values) for row in TABLE.values())


@pytest.mark.parametrize("thing", list(Thing))
@pytest.mark.parametrize("action", list(Action))
def test_more_power_never_means_less(thing: Thing, action: Action) -> None:
    by_role = [Grants(role).may(action, thing) for role in (Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER)]
    by_scope = [Grants(Role.OWNER, scope).may(action, thing) for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN)]
    assert by_role == sorted(by_role)
    assert by_scope == sorted(by_scope)


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("scope", Scope.values)
def test_a_key_never_exceeds_role_or_scope(role: str, scope: str) -> None:
    assert Grants(role, scope).names() <= Grants(role).names() & Grants(Role.OWNER, scope).names()


def test_a_key_that_writes_makes_no_keys_and_members() -> None:
    found = Grants(Role.OWNER, Scope.WRITE)
    assert not any(found.may(Action.ADMIN, thing) for thing in Thing)
