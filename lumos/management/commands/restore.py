"""Replaces the whole database by a backup."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from lumos.backup import BackupFailed, restore_backup


class Command(BaseCommand):
    """Stop web, gateway, worker and beat first. Shields go on meanwhile with what they run.

    Shields that run a newer configuration than the backup has are held back afterwards: the dashboard shows what
    differs and asks which of the two counts.
    """

    help = __doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--yes", action="store_true", help="everything that the database has now is lost")

    def handle(self, **options: Any) -> None:
        if not options["yes"]:
            raise CommandError("This replaces everything that the database has now. Add --yes if you mean it.")
        try:
            restore_backup(options["file"].resolve())
        except BackupFailed as error:
            raise CommandError(f"Nothing was changed. {error}") from error
        call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write(
            "Restored. Start the services; the page of each server says if its shield runs something newer."
        )
