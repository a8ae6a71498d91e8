"""A snapshot as encoded pieces, one per domain and listing, so that a change of one touches no other.

Both ends hold what was sent last: the gateway sends the pieces that differ, the agent puts them in and has the same
bytes as if it had been sent everything.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Self, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

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
        other.domains, other.lists = dict(self.domains), dict(self.lists)
        return other

    def put_encoded(self, domains: Iterable[Raw], lists: Iterable[Raw]) -> None:
        """Put encoded pieces in the place of their predecessors; a listing without networks removes it."""
        for raw in domains:
            about = msgspec.json.decode(raw, type=_DomainKey)
            self.domains[about.id] = (about.hostname, bytes(raw))
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
        for key in [key for key in self.lists if key[0] in gone]:
            del self.lists[key]

    def join(self) -> bytes:
        """Return the bytes that `Snapshot.encode` returns for the same content."""
        domains = b",".join(raw for _, raw in sorted(self.domains.values()))
        lists = b",".join(raw for _, raw in sorted(self.lists.items()))
        frame = _encoder.encode(self.frame).removesuffix(b"}")
        return b"".join((frame, b',"domains":[', domains, b'],"lists":[', lists, b"]}"))


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

    def decode(self, data: bytes | msgspec.Raw) -> Snapshot:
        """Parse and validate as `Snapshot.decode` does.

        Raises:
            SchemaError: too large, or breaks a rule of the schema.
        """
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


def _frame_of(whole: _Encoded) -> dict[str, Any]:
    return {name: getattr(whole, name) for name in Frame.__struct_fields__}


def _decoded(known: dict[bytes, T], raw: bytes, kind: type[T]) -> T:
    found = known.get(raw)
    return msgspec.json.decode(raw, type=kind) if found is None else found
