"""Start-up of the app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Connects the eraser of ledger entries."""

    name = "billing"

    def ready(self) -> None:
        """Import what registers itself."""
        from billing import erasure

        erasure.connect()
