"""A snapshot as encoded pieces, one per domain and listing, so that a change of one touches no other.

Both ends hold what was sent last: the gateway sends the pieces that differ, the agent puts them in and has the same
bytes as if it had been sent everything.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Self, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from lumos_agent.protocol import Patch
from lumos_agent.schema import DOMAINS_MAX, Domain, Frame, Listing, SchemaError, Snapshot

ListKey = tuple[str, int]
T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")


class _Encoded(Frame, frozen=True, kw_only=True):
    """`Snapshot` with its pieces left as they are."""

    domains: Annotated[tuple[Raw, ...], Meta(max_length=DOMAINS_MAX)]
    lists: tuple[Raw, ...] = ()


class _DomainKey(Struct):
    id: str
    hostname: str


class _ListKey(Struct):
    scope: str
    bucket: int


class Parts:
    """The pieces. `domains`: {id: (hostname, JSON)}; `lists`: {(scope, bucket): JSON}; `frame`: the rest."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.domains: dict[str, tuple[str, bytes]] = {}
        self.lists: dict[ListKey, bytes] = {}
        self._joined: bytes | None = None  # the domains

    @classmethod
    def split(cls, encoded: bytes) -> Self:
        """Take apart what `Snapshot.encode` returned.

        Raises:
            msgspec.DecodeError: it is no snapshot.
        """
        whole = msgspec.json.decode(encoded, type=_Encoded)
        parts = cls(Frame(**_frame_of(whole)))
        parts.put_encoded(whole.domains, whole.lists)
        return parts

    def copy(self) -> Self:
        """Return the same pieces, to be changed on their own."""
        other = type(self)(self.frame)
        other.domains, other.lists, other._joined = dict(self.domains), dict(self.lists), self._joined
        return other

    def put_encoded(self, domains: Iterable[Raw], lists: Iterable[Raw]) -> None:
        """Put encoded pieces in the place of their predecessors; a listing without networks removes it."""
        for raw in domains:
            about = msgspec.json.decode(raw, type=_DomainKey)
            self.domains[about.id] = (about.hostname, bytes(raw))
            self._joined = None
        for raw in lists:
            key = msgspec.json.decode(raw, type=_ListKey)
            self.lists[key.scope, key.bucket] = bytes(raw)
            if bytes(raw) == _empty(key.scope, key.bucket):
                del self.lists[key.scope, key.bucket]

    def remove_domains(self, domain_ids: Iterable[str]) -> None:
        """Take domains out, and their lists with them."""
        gone = set(domain_ids)
        for domain_id in gone:
            self.domains.pop(domain_id, None)
            self._joined = None
        for key in [key for key in self.lists if key[0] in gone]:
            del self.lists[key]

    def join(self) -> bytes:
        """Return the bytes that `Snapshot.encode` returns for the same content."""
        if self._joined is None:
            self._joined = b",".join([raw for _, raw in sorted(self.domains.values())])
        lists = b",".join([raw for _, raw in sorted(self.lists.items())])
        frame = _encoder.encode(self.frame).removesuffix(b"}")
        return b"".join((frame, b',"domains":[', self._joined, b'],"lists":[', lists, b"]}"))


def encoded(part: Domain | Listing) -> Raw:
    """Return a piece as `Snapshot.encode` writes it."""
    return Raw(_encoder.encode(part))


def _empty(scope: str, bucket: int) -> bytes:
    return bytes(encoded(Listing(scope=scope, bucket=bucket)))


class Decoder:
    """Decodes snapshots one after the other; pieces that were in the one before are not parsed again."""

    def __init__(self) -> None:
        self._domains: dict[bytes, Domain] = {}
        self._lists: dict[bytes, Listing] = {}
        self._last: tuple[str, Snapshot] | None = None

    def decode(self, data: bytes | msgspec.Raw, digest: str) -> Snapshot:
        """Parse and validate as `Snapshot.decode` does. `digest` is that of `data`.

        Raises:
            SchemaError: too large, or breaks a rule of the schema.
        """
        snapshot = self._decoded(data)
        self._last = digest, snapshot
        return snapshot

    def patched(self, patch: Patch) -> Snapshot | None:
        """Return what a patch makes of the snapshot that was decoded last, as decoding the whole would; None if it is
        a patch of another one.

        Raises:
            SchemaError: a piece breaks a rule of the schema.
        """
        if self._last is None or self._last[0] != patch.base:
            return None
        last = self._last[1]
        try:
            domains = [msgspec.json.decode(raw, type=Domain) for raw in patch.domains]
            lists = [msgspec.json.decode(raw, type=Listing) for raw in patch.lists]
        except msgspec.DecodeError as error:
            raise SchemaError(str(error)) from error
        snapshot = msgspec.structs.replace(
            last,
            domains=_with_domains(last.domains, domains, patch.removed_domains),
            lists=_with_lists(last.lists, lists, patch.removed_domains),
        )
        self._last = patch.digest, snapshot
        return snapshot

    def _decoded(self, data: bytes | msgspec.Raw) -> Snapshot:
        try:
            whole = msgspec.json.decode(data, type=_Encoded)
            domains = {raw: _decoded(self._domains, raw, Domain) for raw in map(bytes, whole.domains)}
            lists = {raw: _decoded(self._lists, raw, Listing) for raw in map(bytes, whole.lists)}
        except msgspec.DecodeError:
            return Snapshot.decode(data)  # says what is wrong, and where
        if (len(domains), len(lists)) != (len(whole.domains), len(whole.lists)):
            raise SchemaError("a piece of the snapshot is there twice")
        self._domains, self._lists = domains, lists
        return Snapshot(domains=tuple(domains.values()), lists=tuple(lists.values()), **_frame_of(whole))


def _with_domains(before: tuple[Domain, ...], changed: Sequence[Domain], removed: Sequence[str]) -> tuple[Domain, ...]:
    if not changed and not removed:
        return before
    gone = set(removed)
    found = {d.id: d for d in before if d.id not in gone} | {d.id: d for d in changed}
    return tuple(sorted(found.values(), key=attrgetter("hostname")))


def _with_lists(before: tuple[Listing, ...], changed: Sequence[Listing], removed: Sequence[str]) -> tuple[Listing, ...]:
    if not changed and not removed:
        return before
    place, gone = attrgetter("scope", "bucket"), set(removed)
    found = {place(part): part for part in before if part.scope not in gone} | {place(part): part for part in changed}
    return tuple(sorted((part for part in found.values() if part.allow or part.deny), key=place))


def _frame_of(whole: _Encoded) -> dict[str, Any]:
    return {name: getattr(whole, name) for name in Frame.__struct_fields__}


def _decoded(known: dict[bytes, T], raw: bytes, kind: type[T]) -> T:
    found = known.get(raw)
    return msgspec.json.decode(raw, type=kind) if found is None else found
