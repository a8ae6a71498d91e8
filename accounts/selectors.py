"""Named reads about people and accounts."""

from collections.abc import Sequence

from django.db.models import QuerySet

from accounts.models import Account, Membership, User
from accounts.second_factor import is_missing


def memberships_of(user: User) -> list[Membership]:
    """Return the memberships of a person with their accounts, the oldest first."""
    return list(Membership.objects.select_related("account", "user").filter(user=user).order_by("created_at", "pk"))


def chosen(memberships: Sequence[Membership], account_id: str | None) -> Membership | None:
    """Return the membership of the chosen account, else the oldest one, else None."""
    of_account = [row for row in memberships if str(row.account_id) == account_id]
    return next(iter(of_account or memberships), None)


def active_membership(user: User, account_id: str | None) -> Membership | None:
    """Return the membership that a session works with; None while its account asks for a second factor in vain."""
    found = chosen(memberships_of(user), account_id)
    return None if found is None or is_missing(found) else found


def members(account: Account) -> QuerySet[Membership]:
    """Return who belongs to an account, the oldest member first."""
    return Membership.objects.select_related("user", "account").filter(account=account).order_by("created_at", "pk")
