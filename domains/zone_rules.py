"""What the records of one name may be together. Pure; each rule names its source."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from domains.zone_models import RecordType
from lumos.errors import Conflict, InvalidInput

SET_MAX = 100
SET_CHARACTERS_MAX = 30_000
_ADDRESSES = {RecordType.A, RecordType.AAAA}
_MADE = {RecordType.PROXIED, RecordType.ALIAS}
_PLACED = {RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.PROXIED}
_WEIGHTED = {RecordType.A, RecordType.AAAA, RecordType.PROXIED}


@dataclass(frozen=True, kw_only=True)
class RecordData:
    """A record in canonical form; `server` is the id of a shield, for proxied names only."""

    name: str
    type: str
    data: str
    ttl: int = 300
    place: str = ""
    weight: int = 0
    server: Any = None


def refuse_wrong_name(records: Sequence[RecordData], *, nameservers: Collection[str], delegated: Iterable[str]) -> None:
    """Refuse what the records of one name must not be together.

    Args:
        records: all of the name.
        nameservers: names whose addresses are those of the zone's shields.
        delegated: names with NS records, the zone itself left out.

    Raises:
        InvalidInput: `field` is what to change.
        Conflict: a record is there twice.
    """
    if not records:
        return
    name = records[0].name
    _refuse_twice(records)
    _refuse_beside(name, {record.type for record in records}, records)
    if name in nameservers and {record.type for record in records} & (_ADDRESSES | _MADE | {RecordType.CNAME}):
        raise InvalidInput(f"{name} is a name server of this zone; its addresses are the shield's.", field="name")
    _refuse_below(name, records, [cut for cut in delegated if name == cut or name.endswith(f".{cut}")])
    for kind in {record.type for record in records}:
        _refuse_wrong_set(name, [record for record in records if record.type == kind])
    if any(r.place for r in records) and any(r.weight for r in records):
        raise InvalidInput(f"{name} has places and weights; a name has one or the other.", field="weight")


def _refuse_twice(records: Sequence[RecordData]) -> None:
    seen: set[Any] = set()
    for record in records:
        key = record.type, record.data, record.place, record.server
        if key in seen:
            raise Conflict(f"{record.name} has this {record.type} record already; edit that one.", field="data")
        seen.add(key)


def _refuse_beside(name: str, kinds: set[str], records: Sequence[RecordData]) -> None:
    """CNAME stands alone (RFC 1034, 3.6.2; RFC 2181, 10.1), so it cannot be the zone's own name."""
    if RecordType.CNAME in kinds and name == "@":
        raise InvalidInput("The zone itself cannot be a CNAME; use ALIAS, or a proxied name.", field="type")
    if RecordType.CNAME in kinds and len(kinds) > 1:
        raise InvalidInput(f"{name} has a CNAME record, which has to be its only one.", field="type")
    if made := kinds & _MADE:
        others = kinds & (_ADDRESSES | _MADE) - {min(made)}
        if others:
            what = ", ".join(sorted(others))
            raise InvalidInput(f"{name} has its addresses from {min(made)}; remove {what}.", field="type")
    places = [record.place for record in records if record.type in (RecordType.CNAME, RecordType.ALIAS)]
    if len(places) != len(set(places)):
        raise InvalidInput(f"{name} may stand for one other name only.", field="data")


def _refuse_below(name: str, records: Sequence[RecordData], cuts: Sequence[str]) -> None:
    """Below a delegation only addresses of its name servers are ours to give (RFC 1034, 4.2.1)."""
    for cut in cuts:
        allowed = {RecordType.NS} if name == cut else set()
        wrong = {r.type for r in records} - _ADDRESSES - allowed
        if wrong or any(r.place or r.weight for r in records):
            raise InvalidInput(
                f"{cut} is delegated to other name servers; beside them only plain addresses for them are served here.",
                field="name",
            )


def _refuse_wrong_set(name: str, records: Sequence[RecordData]) -> None:
    kind = records[0].type
    if len(records) > SET_MAX or sum(len(record.data) for record in records) > SET_CHARACTERS_MAX:
        raise InvalidInput(f"{name} has too many records of type {kind} for one answer.", field="data")
    if len({record.ttl for record in records}) > 1:  # RFC 2181, 5.2
        raise InvalidInput(f"All records of {name} and type {kind} have the same TTL.", field="ttl")
    if kind == RecordType.PROXIED and len({record.data for record in records}) > 1:
        raise InvalidInput(f"All proxied records of {name} answer alike, “all” or “first”.", field="data")
    _refuse_wrong_choice(name, kind, records)


def _refuse_wrong_choice(name: str, kind: str, records: Sequence[RecordData]) -> None:
    places, weights = [r.place for r in records if r.place], [r.weight for r in records if r.weight]
    if (places or weights) and name.startswith("*"):
        raise InvalidInput("A wildcard answers alike everywhere, without places and weights.", field="name")
    if places and kind not in _PLACED:
        raise InvalidInput(f"Records of type {kind} answer alike everywhere.", field="place")
    if places and len(places) == len(records):
        raise InvalidInput(f"{name} needs a record of type {kind} without a place, for everybody else.", field="place")
    if weights and kind not in _WEIGHTED:
        raise InvalidInput(f"Records of type {kind} have no weights.", field="weight")
    if weights and len(weights) < len(records):
        raise InvalidInput(f"Give each {kind} record of {name} a weight, or none of them.", field="weight")
