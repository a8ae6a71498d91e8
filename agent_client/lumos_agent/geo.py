"""Where networks are: databases in MaxMind's format, compiled into maps that HAProxy looks a client up in.

The databases are files that the operator puts there and keeps up to date (GeoLite2, DB-IP Lite and others have this
format). They are read only while a list or rule names countries or autonomous systems, and again when a file changes.
"""

import asyncio
import hashlib
import importlib.util
import ipaddress
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from lumos_agent.conditions import places_read
from lumos_agent.config import State, write_atomically
from lumos_agent.schema import Snapshot

log = logging.getLogger(__name__)

_CODE = re.compile(r"[A-Za-z]{2}\Z")
LOCATED_MAX = 10_000

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Needs(Struct, frozen=True):
    """What the lists and custom rules of a snapshot name."""

    countries: bool = False
    systems: bool = False

    @classmethod
    def of(cls, snapshot: Snapshot | None) -> "Needs":
        """Look through all lists; they are few that name anything but networks."""
        entries = [] if snapshot is None else [e for part in snapshot.lists for e in (*part.allow, *part.deny)]
        rules = [] if snapshot is None else [rule for domain in snapshot.domains for rule in domain.policy.custom]
        read = places_read(rule.expression for rule in rules)
        return cls(
            "country" in read or any(e.startswith("country:") for e in entries),
            "asn" in read or any(e.startswith("AS") for e in entries),
        )


def _country(record: Any) -> str | None:
    for name in ("country", "registered_country"):
        if isinstance(found := record.get(name), dict) and isinstance(code := found.get("iso_code"), str):
            return f"country:{code.upper()}" if len(code) == 2 and code.isascii() and code.isalpha() else None
    return None


def _system(record: Any) -> str | None:
    number = record.get("autonomous_system_number")
    return f"AS{number}" if isinstance(number, int) and 0 < number < 2**32 else None


class Database:
    """One database and the map that is made of it."""

    def __init__(self, name: str, source: Path, folder: Path, value: Callable[[Any], str | None]) -> None:
        self._name = name
        self._source = source
        self._folder = folder
        self._value = value
        self.problem = ""

    def wanted(self) -> Path | None:
        """Return the path that the map of the present database has, made or not; None if it cannot be made."""
        try:
            facts = self._source.stat()
        except OSError:
            self.problem = f"there is no database {self._source}"
            return None
        if importlib.util.find_spec("maxminddb") is None:
            self.problem = "the Python package maxminddb is not installed"
            return None
        state = f"{self._source}|{facts.st_size}|{facts.st_mtime_ns}"
        return self._folder / f"{self._name}-{hashlib.sha256(state.encode()).hexdigest()[:16]}.map"

    def compile(self, target: Path) -> bool:
        """Write the map, for a thread; False if the database cannot be read."""
        import maxminddb

        try:
            with maxminddb.open_database(self._source, maxminddb.MODE_FILE) as reader:
                lines = [f"{network} {value}\n" for network, value in self._merged(iter(reader))]
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            self.problem = f"{self._source} is no usable database: {error}"
            return False
        if not lines:
            self.problem = f"{self._source} has no {self._name} in it"
            return False
        write_atomically(target, "".join(lines).encode())
        self.problem = ""
        log.info("places_compiled", extra={"map": target.name, "networks": len(lines)})
        return True

    def _merged(self, rows: Iterator[tuple[_Network, Any]]) -> Iterator[tuple[_Network, str]]:
        """Return the networks in order; two halves of one value become the whole."""
        pending: list[tuple[_Network, str]] = []
        for network, record in rows:
            if not isinstance(record, dict) or (value := self._value(record)) is None:
                continue
            while pending and pending[-1][1] == value and _are_halves(pending[-1][0], network):
                network = pending.pop()[0].supernet()
            pending.append((network, value))
        yield from pending

    def forget_others(self, kept: Path) -> None:
        """Delete the maps of earlier databases; a worker that runs has read its map already."""
        for path in self._folder.glob(f"{self._name}-*.map"):
            if path != kept:
                path.unlink(missing_ok=True)


def _are_halves(first: _Network, second: _Network) -> bool:
    return (
        first.version == second.version
        and first.prefixlen == second.prefixlen > 0
        and first.supernet() == second.supernet()
    )


def _sources(state: State) -> tuple[Path, Path]:
    """Return where the databases of countries and of autonomous systems are."""
    return country_database(state), Path(state.settings().asn_database or state.geo / "asn.mmdb")


def country_database(state: State) -> Path:
    """Return where the database of countries is."""
    return Path(state.settings().country_database or state.geo / "country.mmdb")


class _Opened:
    """A database as it is now; nobody is anywhere while there is none."""

    def __init__(self, source: Path, value: Callable[[Any], str | None]) -> None:
        self._source = source
        self._value = value
        self._written = 0
        self._reader: Any = None

    def refresh(self) -> bool:
        """Open the file again if it changed; returns whether it did."""
        try:
            written = self._source.stat().st_mtime_ns
        except OSError:
            written = 0
        if written == self._written:
            return False
        self._written, self._reader = written, None
        if written and importlib.util.find_spec("maxminddb") is not None:
            import maxminddb

            try:
                self._reader = maxminddb.open_database(self._source, maxminddb.MODE_FILE)
            except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
                log.warning("database_unreadable", extra={"file": str(self._source), "error": str(error)})
        return True

    def value(self, client: str) -> str:
        """Return what the database says of an address, or ""."""
        try:
            record = None if self._reader is None else self._reader.get(client)
        except (OSError, ValueError) as error:
            log.debug("address_not_found", extra={"client": client, "error": str(error)})
            return ""
        return (isinstance(record, dict) and self._value(record)) or ""


class Locator:
    """Says where clients of events are, as far as this shield has databases."""

    def __init__(self, state: State) -> None:
        countries, systems = _sources(state)
        self._countries, self._systems = _Opened(countries, _country), _Opened(systems, _system)
        self._known: dict[str, tuple[str, int]] = {}

    def refresh(self) -> None:
        """Take newer databases if there are any; called before each round of look-ups."""
        if self._countries.refresh() | self._systems.refresh() or len(self._known) > LOCATED_MAX:
            self._known.clear()

    def place(self, client: str) -> tuple[str, int]:
        """Return (ISO 3166-1 code or "", AS number or 0) of an address."""
        if (known := self._known.get(client)) is None:
            system = self._systems.value(client).removeprefix("AS")
            known = self._countries.value(client).removeprefix("country:"), int(system or 0)
            self._known[client] = known
        return known


class Geo:
    """The maps that are in use, and why those that are needed are not."""

    def __init__(self, state: State) -> None:
        countries, systems = _sources(state)
        self._countries = Database("countries", countries, state.geo, _country)
        self._systems = Database("systems", systems, state.geo, _system)
        self._missing: list[str] = []

    def known(self) -> tuple[str, str]:
        """Return the maps that are there already, so that a restarted agent serves at once what it served before."""
        return self._path(self._countries), self._path(self._systems)

    def _path(self, database: Database) -> str:
        wanted = database.wanted()
        return str(wanted) if wanted is not None and wanted.exists() else ""

    async def update(self, needs: Needs) -> tuple[str, str]:
        """Return the paths of both maps, empty where there is none; compiles what is needed and new."""
        self._missing = []
        countries = await self._current(self._countries, "countries", needed=needs.countries)
        systems = await self._current(self._systems, "autonomous systems", needed=needs.systems)
        return countries, systems

    async def _current(self, database: Database, what: str, *, needed: bool) -> str:
        if not needed:
            return ""
        target = database.wanted()
        if target is not None and (target.exists() or await asyncio.to_thread(database.compile, target)):
            database.forget_others(target)
            return str(target)
        self._missing.append(f"lists and rules of {what}: {database.problem}")
        return ""

    @property
    def problem(self) -> str:
        """Why lists that are there have no effect; empty when they have."""
        return "; ".join(self._missing)
