"""Connects what the sign-in library tells."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """The app."""

    name = "notifications"

    def ready(self) -> None:
        """Listen to sign-ins."""
        from allauth.account.signals import user_logged_in

        from notifications.sign_ins import note_sign_in

        user_logged_in.connect(note_sign_in, dispatch_uid="notifications.sign_ins")
