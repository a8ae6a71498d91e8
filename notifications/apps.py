"""Connects what the sign-in library and billing tell."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """The app."""

    name = "notifications"

    def ready(self) -> None:
        """Listen to sign-ins and to billing."""
        from allauth.account.signals import user_logged_in

        from billing import events
        from notifications.credits import note_balance_low, note_frozen
        from notifications.sign_ins import note_sign_in

        user_logged_in.connect(note_sign_in, dispatch_uid="notifications.sign_ins")
        events.balance_low.connect(note_balance_low, dispatch_uid="notifications.balance_low")
        events.accounts_frozen.connect(note_frozen, dispatch_uid="notifications.accounts_frozen")
