"""Hears of sign-ins from the sign-in library."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, tenants, memberships and API keys."""

    name = "accounts"

    def ready(self) -> None:
        """Connect to the library's signals."""
        from allauth.account.signals import user_logged_in

        from accounts.limits import person_got_in

        user_logged_in.connect(person_got_in)
