"""A control plane for one test: the API without its pages' files, quick to start and thrown away at the end."""

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

from deploy.stack import ROOT, Stack
from tests.database import migrations_digest


class BareStack(Stack):
    """For `start_control_plane`: no courier; the database is a copy of one that was migrated once."""

    parts = ("web", "gateway", "worker", "beat", "origin")

    def _migrate(self) -> None:
        migrated = ROOT / "var" / f"migrated-{migrations_digest()}.sqlite3"
        if migrated.exists():
            _copy(migrated, self.folder / "lumos.sqlite3")
            return
        self.manage("migrate", "--noinput", "-v", "0")
        migrated.parent.mkdir(exist_ok=True)
        for outdated in migrated.parent.glob("migrated-*.sqlite3"):
            outdated.unlink(missing_ok=True)
        made = migrated.with_suffix(f".{os.getpid()}")
        _copy(self.folder / "lumos.sqlite3", made)
        made.replace(migrated)

    def stop(self) -> None:
        """End every process at once: nothing of it is needed any more."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "supervisord.pid").read_text()), signal.SIGKILL)
        self.end_strays()


def _copy(source: Path, target: Path) -> None:
    """Copy a database with what is in its journal."""
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)
