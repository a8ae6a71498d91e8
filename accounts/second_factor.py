"""Who has a second factor, and accounts that ask it of their members."""

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled

from accounts.models import Membership, User

_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def has_second_factor(user: User) -> bool:
    """Whether signing in takes an authenticator app, a security key or a passkey; recovery codes alone are none."""
    return bool(is_mfa_enabled(user, _FACTORS))


def is_missing(membership: Membership) -> bool:
    """Whether the account asks for a second factor that its member does not have."""
    return membership.account.requires_second_factor and not has_second_factor(membership.user)
