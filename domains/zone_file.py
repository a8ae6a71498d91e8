"""Zone files (RFC 1035, 5): records in, records out.

A zone file knows neither proxied names nor aliases, places and weights: an export has them as comments, an import
leaves them as they are.
"""

import re
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

import dns.exception
import dns.name
import dns.rdatatype
import dns.zone
from django.db import models, transaction

from accounts.models import User
from domains import zones
from domains.rdata import shown
from domains.zone_models import RecordType, Zone, ZoneRecord
from domains.zone_parts import addresses_of
from domains.zone_rules import RecordData
from lumos.errors import AppError, InvalidInput

TEXT_MAX = 2 * 1024 * 1024
TTL = 300
_MADE = {RecordType.PROXIED, RecordType.ALIAS}
_LINE = re.compile(r"\A[^:]*:(\d+): ?")


class ImportMode(models.TextChoices):
    """What becomes of records that the file does not have."""

    ADD = "add", "Add to what is there"
    REPLACE = "replace", "Replace what is there"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A record that is left out, and why."""

    record: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did, or would do."""

    added: int = 0
    removed: int = 0
    kept: int = 0
    refused: list[Refused] = field(default_factory=list)


class _DryRun(Exception):
    """Carries the result out of the transaction that is rolled back."""

    def __init__(self, done: Imported) -> None:
        self.done = done


def import_zone_file(
    *, zone_id: uuid.UUID, text: str, actor: User, mode: str = ImportMode.ADD, dry_run: bool = False
) -> Imported:
    """Take the records of a zone file over; with `dry_run` only say what would be done.

    Raises:
        InvalidInput: it is no zone file, or its records contradict each other.
        Zone.DoesNotExist: the zone is gone.
    """
    try:
        with transaction.atomic():
            done = _imported(Zone.objects.get(pk=zone_id), text, mode, actor)
            if dry_run:
                raise _DryRun(done)
    except _DryRun as dry:
        return dry.done
    return done


def _imported(zone: Zone, text: str, mode: str, actor: User) -> Imported:
    found, refused = parsed(zone, text)
    present = [zones.data_of(row) for row in ZoneRecord.objects.filter(zone=zone)]
    if mode == ImportMode.REPLACE:
        present = [data for data in present if not _is_plain(data)]
    known = {(data.name, data.type, data.data): data for data in present}
    new = [data for data in found if (data.name, data.type, data.data) not in known]
    counts = zones.replace_records(zone_id=zone.pk, records=_with_one_ttl(present, new), actor=actor)
    return Imported(**counts, refused=refused)


def _with_one_ttl(present: list[RecordData], new: list[RecordData]) -> list[RecordData]:
    """Let records that join a set have its TTL (RFC 2181, 5.2)."""
    ttls = {(data.name, data.type): data.ttl for data in present}
    return present + [RecordData(**asdict(d) | {"ttl": ttls.get((d.name, d.type), d.ttl)}) for d in new]


def _is_plain(data: RecordData) -> bool:
    return data.type not in _MADE and not data.place and not data.weight


def parsed(zone: Zone, text: str) -> tuple[list[RecordData], list[Refused]]:
    """Return the records of a zone file, and those that are left out.

    Raises:
        InvalidInput: it is no zone file.
    """
    if len(text) > TEXT_MAX:
        raise InvalidInput(f"The file has {len(text)} characters, the limit is {TEXT_MAX}.", field="text")
    found: list[RecordData] = []
    refused: list[Refused] = []
    own = {f"ns{number}.{zone.name}" for number in zone.nameservers.values_list("number", flat=True)}
    for name, ttl, rdata in _read(zone.name, text):
        kind = dns.rdatatype.to_text(rdata.rdtype)
        owner = name.to_text(omit_final_dot=True).lower()
        if kind == "SOA" or (kind, owner) == ("NS", zone.name) or (kind in ("A", "AAAA") and owner in own):
            continue  # what Lumos says itself
        given = RecordData(name=f"{owner}.", type=kind, data=rdata.to_text(), ttl=min(max(ttl, 1), 604_800))
        try:
            found.append(zones.canonical_record(zone.name, given))
        except AppError as error:
            refused.append(Refused(record=shown(f"{owner} {kind} {given.data}"), message=error.detail))
    return list(dict.fromkeys(found)), refused


def _read(zone: str, text: str) -> Any:
    try:
        origin = dns.name.from_text(f"{zone}.")
        read = dns.zone.from_text(
            f"$TTL {TTL}\n{text}\n",
            origin,
            relativize=False,
            check_origin=False,
            allow_include=False,
            allow_directives=("$ORIGIN", "$TTL"),
        )
        return list(read.iterate_rdatas())
    except (dns.exception.DNSException, ValueError) as error:
        said = str(error)
        place = _LINE.match(said)
        where = f"Near line {int(place[1]) - 1}: " if place else ""
        raise InvalidInput(f"{where}{_LINE.sub('', said)[:300] or type(error).__name__}", field="text") from error


def export_zone_file(zone: Zone) -> str:
    """Return a zone as a file that other name servers read."""
    lines = [f"$ORIGIN {zone.name}.", f"$TTL {TTL}"]
    servers = list(zone.nameservers.select_related("server").order_by("number"))
    first = f"ns{servers[0].number}" if servers else "@"
    lines.append(f"@ 3600 IN SOA {first} hostmaster {zone.serial} 3600 600 1209600 300")
    for row in servers:
        lines.append(f"@ 3600 IN NS ns{row.number}")
        addresses = [("AAAA" if ":" in address else "A", address) for address in addresses_of(row.server)]
        lines += [f"ns{row.number} 3600 IN {kind} {address}" for kind, address in addresses]
    for record in zone.records.order_by("name", "type", "place", "data"):
        line = f"{record.name} {record.ttl} IN {record.type} {record.data}"
        extra = f" place={record.place}" if record.place else f" weight={record.weight}" if record.weight else ""
        is_only_ours = record.type in _MADE or record.place
        lines.append(f"; {line}{extra}" if is_only_ours else line)
    return "\n".join(lines) + "\n"
