"""The schema of the tests' PostgreSQL databases: migrations run once for each state of them, then a dump is read.

A template database gets the dump or the migrations, and each worker's database is a copy of the template.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.services import postgres_bin

ROOT = Path(__file__).parent.parent
DUMPS = ROOT / "var" / "test-schemas"
_LOCK = 0x6C756D6F73
# What decides which tables there are, beside the migrations: the apps, and the versions of other people's apps.
_DECISIVE = ("requirements.txt", "lumos/settings/base.py", "lumos/settings/test.py")


def template_database(url: str) -> str:
    """Return the name of a database with the tables of today's migrations, which is made if it is missing.

    `url` names a database of the server. Workers that ask at the same time wait for the first of them.
    """
    digest = migrations_digest()
    name = f"lumos_template_{digest}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return name
        draft = sql.Identifier(f"{name}_draft")
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(draft))
        server.execute(sql.SQL("CREATE DATABASE {}").format(draft))
        _fill(urlunsplit(urlsplit(url)._replace(path=f"/{name}_draft")), DUMPS / f"{digest}.sql")
        server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(draft, sql.Identifier(name)))
    return name


def migrations_digest() -> str:
    """Return a name for all migrations as they are, and for what else decides which tables there are."""
    found = hashlib.sha256()
    for path in [*(ROOT / name for name in _DECISIVE), *sorted(ROOT.glob("*/migrations/*.py"))]:
        found.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _fill(url: str, dump: Path) -> None:
    if dump.exists():
        _run(postgres_bin() / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", dump)
        return
    _run(sys.executable, ROOT / "manage.py", "migrate", "--verbosity", "0", DATABASE_URL=url)
    dump.parent.mkdir(parents=True, exist_ok=True)
    draft = dump.with_suffix(f".{os.getpid()}")
    _run(postgres_bin() / "pg_dump", "--no-owner", "-d", url, "-f", draft)
    for old in dump.parent.glob("*.sql"):
        old.unlink()
    draft.replace(dump)


def _run(*argv: str | Path, **environment: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr[-2000:]}")
