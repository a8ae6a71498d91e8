"""Who belongs to an account: roles, removal, leaving. An account always keeps an owner."""

from django.db import transaction

from accounts import audit
from accounts.api_keys import revoke_api_key
from accounts.models import Account, ApiKey, Membership, Role, User
from lumos.errors import Conflict, Forbidden


def role_of(account: Account, user: User) -> str | None:
    """Return the role of a person in an account, or None."""
    return Membership.objects.filter(account=account, user=user).values_list("role", flat=True).first()


def require_power(account: Account, actor: User, *roles: str) -> None:
    """Refuse those who are no owner to touch owners.

    Raises:
        Forbidden: one of `roles` is owner, and the actor is not.
    """
    if Role.OWNER in roles and role_of(account, actor) != Role.OWNER:
        raise Forbidden("Only an owner may make, change or remove owners.")


def _locked(account: Account, membership: Membership) -> Membership:
    """Return the membership as it is now, with the account locked: two owners may not demote each other at once."""
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    found = Membership.objects.select_related("user").filter(account=account, pk=membership.pk).first()
    if found is None:
        raise Conflict("This person is no longer a member.")
    return found


def _keep_an_owner(row: Membership) -> None:
    others = Membership.objects.filter(account_id=row.account_id, role=Role.OWNER).exclude(pk=row.pk)
    if row.role == Role.OWNER and not others.exists():
        raise Conflict("This is the only owner. Make somebody else an owner first.", field="role")


@transaction.atomic
def change_role(*, membership: Membership, role: str, actor: User) -> Membership:
    """Give a member another role; it holds from the next request on, for the member's API keys as well."""
    row = _locked(membership.account, membership)
    require_power(row.account, actor, row.role, role)
    if row.role == role:
        return row
    _keep_an_owner(row)
    changed = {"role": [row.role, role]}
    row.role = role
    row.save(update_fields=["role"])
    audit.record(actor, audit.Action.MEMBER_CHANGED, row.user, changed)
    return row


@transaction.atomic
def remove_member(*, membership: Membership, actor: User) -> None:
    """Take a member out of the account (or leave it oneself); the member's API keys end as well."""
    row = _locked(membership.account, membership)
    if row.user_id != actor.pk:
        require_power(row.account, actor, row.role)
    _keep_an_owner(row)
    for key in ApiKey.objects.filter(created_by=row.user):
        revoke_api_key(key=key, actor=actor)
    audit.record(actor, audit.Action.MEMBER_REMOVED, row.user, {"role": [row.role, None]})
    row.delete()
