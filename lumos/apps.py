"""Start-up of the installation."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class LumosConfig(AppConfig):
    """Gives periodic jobs their rows whenever the database was migrated."""

    name = "lumos"

    def ready(self) -> None:
        """Import what needs the models."""
        from lumos import jobs

        post_migrate.connect(jobs.put_rows, sender=self)
