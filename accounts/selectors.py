"""Named reads about people and accounts."""

from accounts.models import Membership, User


def active_membership(user: User, account_id: str | None) -> Membership | None:
    """Return the membership of the chosen account, else the oldest one, else None."""
    memberships = list(Membership.objects.select_related("account").filter(user=user).order_by("created_at", "pk"))
    chosen = [m for m in memberships if str(m.account_id) == account_id]
    return next(iter(chosen or memberships), None)
