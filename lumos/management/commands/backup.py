"""Writes the whole database to one file."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lumos.backup import BackupFailed, write_backup


class Command(BaseCommand):
    """It may run at any time. The file holds all tenants' data: keep it as safe as the database."""

    help = __doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, **options: Any) -> None:
        path: Path = options["file"].resolve()
        try:
            write_backup(path)
        except BackupFailed as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).")
