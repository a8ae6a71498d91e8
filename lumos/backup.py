"""Backup and restore of the database. A restored one gets an epoch of its own in the same transaction.

By that agents and dashboard notice that the database is older than what shields run (`servers/reunion.py`).
"""

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from django.db import connection, connections

_NEW_EPOCH = "INSERT INTO servers_epoch (value, created_at) VALUES ('{value}', CURRENT_TIMESTAMP);"
_REPLACING = ("--clean", "--if-exists", "--no-owner", "--no-privileges")
_POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")


class BackupFailed(Exception):
    """Backup or restore did not happen; the message says why. The database is as it was."""


def write_backup(path: Path) -> None:
    """Write the whole database to a file that only its owner reads, or leave what was there.

    Raises:
        BackupFailed: with the reason.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.touch(mode=0o600)
        if connection.vendor == "postgresql":
            _run(["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}"])
            _run(["pg_restore", "--list", str(unfinished)])
        else:
            _copy_sqlite(str(connection.settings_dict["NAME"]), str(unfinished))
        unfinished.replace(path)
    except OSError as error:
        raise BackupFailed(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def restore_backup(path: Path) -> None:
    """Replace the whole database by a backup, or leave it as it is. Connections of this process are closed.

    Raises:
        BackupFailed: with the reason.
    """
    if not path.is_file():
        raise BackupFailed(f"{path} is no file")
    connections.close_all()
    prepared = path.with_name(f".{path.name}.restoring")
    epoch = _NEW_EPOCH.format(value=secrets.token_hex(16))
    try:
        prepared.touch(mode=0o600)
        if connection.vendor == "postgresql":
            _run(["pg_restore", *_REPLACING, f"--file={prepared}", str(path)])
            with prepared.open("a") as script:
                script.write(f"\nSET search_path TO public;\n{epoch}\n")  # pg_dump empties it
            _run(
                [
                    "psql",
                    "--quiet",
                    "--no-psqlrc",
                    "--single-transaction",
                    "--set=ON_ERROR_STOP=1",
                    f"--file={prepared}",
                ]
            )
        else:
            shutil.copyfile(path, prepared)
            with closing(sqlite3.connect(prepared)) as database, database:
                database.executescript(epoch)
            _copy_sqlite(str(prepared), str(connection.settings_dict["NAME"]))
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"{path} cannot be restored: {error}") from error
    finally:
        prepared.unlink(missing_ok=True)


def _copy_sqlite(source: str, target: str) -> None:
    try:
        with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
            read.backup(written)
    except sqlite3.Error as error:
        raise BackupFailed(f"SQLite refused the copy: {error}") from error


def _run(argv: list[str]) -> None:
    """Run one of PostgreSQL's programs on the database of the settings."""
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            [_program(argv[0]), *argv[1:]],
            capture_output=True,
            check=False,
            env={**os.environ, **_place(connection.settings_dict)},
        )
    except OSError as error:
        raise BackupFailed(
            f"{argv[0]} cannot be started: {error.strerror or error}; install PostgreSQL's client"
        ) from error
    if done.returncode != 0:
        raise BackupFailed(f"{argv[0]} failed: {done.stderr.decode(errors='replace').strip()[-2000:]}")


def _program(name: str) -> str:
    """Return the newest one that is installed: an older pg_dump refuses a newer server."""
    installed = sorted(_POSTGRES_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(installed[-1]) if installed else name


def _place(database: Mapping[str, Any]) -> dict[str, str]:
    """Return where the database is, as the programs read it from the environment."""
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    return {variable: str(database[key]) for variable, key in names.items() if database.get(key)}
