"""Verbs on accounts and memberships."""

from django.db import transaction

from accounts.models import Account, Membership, Role, User


@transaction.atomic
def create_account(*, owner: User, name: str) -> Account:
    """Create an account with its first owner."""
    account = Account.objects.create(name=name)
    Membership.objects.create(account=account, user=owner, role=Role.OWNER)
    return account
