"""A copy of the country database, which nobody changes while a daemon has it mapped into its memory."""

import hashlib
import importlib.util
import logging
from pathlib import Path

from lumos_agent.config import write_atomically

log = logging.getLogger(__name__)


class DatabaseCopy:
    """Copies in `folder`, each named after the state of the source that it was made from."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._source = source
        self._folder = folder

    def path(self) -> str:
        """Return a copy of the database as it is now, "" if there is none or it cannot be read."""
        try:
            facts = self._source.stat()
        except OSError:
            return ""
        stamp = hashlib.sha256(f"{self._source}|{facts.st_size}|{facts.st_mtime_ns}".encode()).hexdigest()[:16]
        copy = self._folder / f"country-{stamp}.mmdb"
        if not copy.exists():
            if not _is_database(self._source):
                return ""
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_atomically(copy, self._source.read_bytes())
        return str(copy)

    def forget_others(self, kept: str) -> None:
        """Delete the copies of earlier databases."""
        for path in self._folder.glob("country-*.mmdb"):
            if str(path) != kept:
                path.unlink(missing_ok=True)


def _is_database(path: Path) -> bool:
    if importlib.util.find_spec("maxminddb") is None:
        return False
    import maxminddb

    try:
        maxminddb.open_database(path, maxminddb.MODE_FILE).close()
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        log.warning("database_unreadable", extra={"file": str(path), "error": str(error)})
        return False
    return True
