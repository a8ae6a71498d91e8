"""Connects what the sign-in library tells."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """The app."""

    name = "notifications"
