"""Verbs on accounts and memberships."""

from django.db import transaction

from accounts import audit
from accounts.models import Account, Membership, Role, User


@transaction.atomic
def create_account(*, owner: User, name: str) -> Account:
    """Create an account with its first owner."""
    account = Account.objects.create(name=name)
    Membership.objects.create(account=account, user=owner, role=Role.OWNER)
    return account


@transaction.atomic
def rename_account(*, account: Account, name: str, actor: User) -> None:
    """Give the account another name."""
    changed = audit.changes({"name": account.name}, {"name": name})
    if changed:
        account.name = name
        account.save(update_fields=["name"])
        audit.record(actor, audit.Action.ACCOUNT_CHANGED, account, changed)
