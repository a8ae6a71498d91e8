"""Who has a second factor, and accounts that ask it of their members."""

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.db import transaction

from accounts import audit
from accounts.models import Account, Membership, User
from lumos.errors import Conflict

_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def has_second_factor(user: User) -> bool:
    """Whether signing in takes an authenticator app, a security key or a passkey; recovery codes alone are none."""
    return bool(is_mfa_enabled(user, _FACTORS))


def is_missing(membership: Membership) -> bool:
    """Whether the account asks for a second factor that its member does not have."""
    return membership.account.requires_second_factor and not has_second_factor(membership.user)


@transaction.atomic
def require_second_factor(*, account: Account, required: bool, actor: User) -> None:
    """Ask a second factor of every member, or no longer; who has none sees nothing of the account until then.

    Raises:
        Conflict: the actor has none, and would be the first to be locked out.
    """
    if required and not has_second_factor(actor):
        raise Conflict("Set up a second factor for yourself first, or you would lock yourself out.", field="required")
    before = account.requires_second_factor
    account.requires_second_factor = required
    account.save(update_fields=["requires_second_factor"])
    changed = audit.changes({"requires_second_factor": before}, {"requires_second_factor": required})
    if changed:
        audit.record(actor, audit.Action.ACCOUNT_CHANGED, account, changed)
