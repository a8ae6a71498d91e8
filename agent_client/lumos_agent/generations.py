"""Generations of the configuration on disk: each apply writes a new folder, `current` points to the one that counts."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lumos_agent.errors import ApplyError
from lumos_agent.render.haproxy import Artefact, map_entries, map_text

KEPT = 3
_PREFIX = "gen-"


class Generations:
    """The folder `haproxy` of a state directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / "current"

    def numbers(self) -> list[int]:
        """Return the numbers of the generations that exist, rising."""
        names = (entry.name for entry in self._folder.glob(f"{_PREFIX}*"))
        return sorted(int(name.removeprefix(_PREFIX)) for name in names)

    def next_number(self) -> int:
        """Return the number of the generation that will be written next."""
        return max(self.numbers(), default=0) + 1

    def path(self, number: int) -> Path:
        """Return the folder of a generation."""
        return self._folder / f"{_PREFIX}{number:06d}"

    def current(self) -> int | None:
        """Return the number that `current` points to, or None."""
        try:
            number = int(self._current.readlink().name.removeprefix(_PREFIX))
        except (OSError, ValueError):
            return None
        return number if self.path(number).is_dir() else None

    def write(self, number: int, artefact: Artefact, previous: Artefact | None) -> None:
        """Write a generation; files that are as in the current one, `previous`, become hard links.

        Raises:
            ApplyError: the disk is full or not writable; nothing that runs has changed.
        """
        folder = self.path(number)
        base = self.current() if previous is not None else None
        try:
            for name, content in _contents(artefact, previous if base is not None else None):
                target = folder / name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if content is None and base is not None:
                    os.link(self.path(base) / name, target)
                elif content is not None:
                    _write_durably(target, content)
            _sync_folder(folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ApplyError("write", f"cannot write {folder.name}: {error.strerror or error}") from error

    def read(self, number: int) -> Artefact:
        """Return what a generation consists of.

        Raises:
            OSError: a file is missing or unreadable.
        """
        folder = self.path(number)
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        maps: dict[str, Mapping[str, str]] = {
            path.stem: map_entries(path.read_bytes()) for name, path in files.items() if name.startswith("maps/")
        }
        others = {n: p.read_bytes() for n, p in files.items() if not n.startswith("maps/") and n != "haproxy.cfg"}
        return Artefact((folder / "haproxy.cfg").read_text(encoding="utf-8"), maps, others)

    def switch(self, number: int) -> None:
        """Make `current` point to a generation; a crash leaves the old or the new one."""
        temporary = self._folder / ".current"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.path(number).name)
        temporary.replace(self._current)
        _sync_folder(self._folder)

    def prune(self) -> None:
        """Remove all but the newest generations and the current one."""
        for number in self.numbers()[:-KEPT]:
            if number != self.current():
                shutil.rmtree(self.path(number), ignore_errors=True)

    def discard(self, number: int) -> None:
        """Remove a generation that was not put into service."""
        if number != self.current():
            shutil.rmtree(self.path(number), ignore_errors=True)


def _contents(new: Artefact, old: Artefact | None) -> list[tuple[str, bytes | None]]:
    """Return (relative path, content), content None for what is as in `old`."""
    same = old is not None and old.cfg == new.cfg
    result: list[tuple[str, bytes | None]] = [("haproxy.cfg", None if same else new.cfg.encode())]
    for name, entries in new.maps.items():
        unchanged = old is not None and (old.maps.get(name) is entries or old.maps.get(name) == entries)
        result.append((f"maps/{name}.map", None if unchanged else map_text(entries)))
    for name, content in new.files.items():
        unchanged = old is not None and old.files.get(name) == content
        result.append((name, None if unchanged else content))
    return result


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems do not sync folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
