"""Maps of hundreds of thousands of entries in shards, so that a change of one entry costs one shard, not the map."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from zlib import crc32

SHARDS = 512


class _Shard:
    """Some entries, never changed once they are in `Entries`, and their lines in a map file."""

    __slots__ = ("_text", "entries")

    def __init__(self, entries: dict[str, str]) -> None:
        self.entries = entries
        self._text: bytes | None = None

    def text(self) -> bytes:
        if self._text is None:
            self._text = "".join([f"{key} {value}\n" for key, value in sorted(self.entries.items())]).encode()
        return self._text


_NOTHING = _Shard({})


def _place(key: str) -> int:
    return crc32(key.encode()) % SHARDS


class Entries(Mapping[str, str]):
    """An immutable map that shares what did not change with the versions before and after it."""

    def __init__(self, shards: tuple[_Shard, ...]) -> None:
        self._shards = shards

    def also(self, more: dict[str, str]) -> "Entries":
        """Return the same with some other keys, in a shard of their own."""
        return Entries((*self._shards, _Shard(more))) if more else self

    def text(self) -> bytes:
        """Return the lines of a map file; equal entries give equal bytes."""
        return b"".join([shard.text() for shard in self._shards])

    def __getitem__(self, key: str) -> str:
        for shard in (self._shards[_place(key)], *self._shards[SHARDS:]):
            if key in shard.entries:
                return shard.entries[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        for shard in self._shards:
            yield from shard.entries

    def __len__(self) -> int:
        return sum(len(shard.entries) for shard in self._shards)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        mine, others = differing(self, other)
        return dict(mine) == dict(others)

    def shards_unlike(self, other: "Entries") -> list[tuple[_Shard, _Shard]]:
        """Return the pairs of shards that are not the same object."""
        pairs = zip_longest(self._shards, other._shards, fillvalue=_NOTHING)
        return [(mine, its) for mine, its in pairs if mine is not its]


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return what is left of two maps without shards that they share: everything in which they may differ."""
    if not isinstance(old, Entries) or not isinstance(new, Entries):
        return old, new
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for mine, its in old.shards_unlike(new):
        before |= mine.entries
        after |= its.entries
    return before, after


class EntriesTable:
    """The map that is being changed; `entries` is what it is now."""

    def __init__(self) -> None:
        self._shards = [_NOTHING] * SHARDS
        self._opened: dict[int, dict[str, str]] = {}

    def get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        place = _place(key)
        opened = self._opened.get(place)
        return (self._shards[place].entries if opened is None else opened).get(key)

    def _open(self, key: str) -> dict[str, str]:
        place = _place(key)
        if (opened := self._opened.get(place)) is None:
            opened = self._opened[place] = dict(self._shards[place].entries)
        return opened

    def __setitem__(self, key: str, value: str) -> None:
        self._open(key)[key] = value

    def pop(self, key: str) -> str | None:
        """Take a key out; returns its value, or None."""
        return self._open(key).pop(key, None)

    def entries(self) -> Entries:
        """Return the map as it is; it does not change with the table."""
        for place, entries in self._opened.items():
            self._shards[place] = _Shard(entries) if entries else _NOTHING
        self._opened.clear()
        return Entries(tuple(self._shards))
