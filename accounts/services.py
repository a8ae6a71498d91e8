"""Verbs on accounts and memberships."""

from django.db import transaction

from accounts import audit
from accounts.models import Account, Membership, Role, User
from accounts.second_factor import has_second_factor
from lumos.errors import Conflict


@transaction.atomic
def create_account(*, owner: User, name: str) -> Account:
    """Create an account with its first owner."""
    account = Account.objects.create(name=name)
    Membership.objects.create(account=account, user=owner, role=Role.OWNER)
    return account


@transaction.atomic
def change_account(*, account: Account, actor: User, **values: str | bool) -> None:
    """Change the account's name, or whether it `requires_second_factor` of its members.

    Who has no second factor sees nothing of an account that asks for one.

    Raises:
        Conflict: the actor has none, and would be the first to be locked out.
    """
    changed = audit.changes({name: getattr(account, name) for name in values}, values)
    if changed.get("requires_second_factor") == [False, True] and not has_second_factor(actor):
        detail = "Set up a second factor for yourself first, or you would lock yourself out."
        raise Conflict(detail, field="requires_second_factor")
    if changed:
        for name, value in values.items():
            setattr(account, name, value)
        account.save(update_fields=list(values))
        audit.record(actor, audit.Action.ACCOUNT_CHANGED, account, changed)
