"""Records at somebody else's name servers: one Protocol, a plan that touches only what Lumos made, one driver per kind.

Beside the addresses of a name stands a mark, a TXT record that names their owner. Without it, or with another owner's,
nothing is written: a person has to hand the records over (`adopt`).
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from lumos.errors import AppError

MARK_PREFIX = "lumos-owner="


class DnsError(AppError):
    """A provider could not be reached, or did not take a change; the same may pass later."""

    status = 502
    code = "dns"
    title = "The DNS provider did not take the change"
    retryable = True


class NotOwned(AppError):
    """The records were made by somebody else; nothing was changed."""

    status = 409
    code = "dns_ownership"
    title = "These records are not Lumos's"


class Entry(NamedTuple):
    """A record: `name` absolute without the final dot, `kind` A, AAAA, CNAME or TXT, `data` without quotes."""

    name: str
    kind: str
    data: str


class Driver(Protocol):
    """Access to one zone. All methods raise DnsError."""

    def entries(self, name: str) -> set[Entry]:
        """Return the records of a name of the kinds that matter here."""

    def change(self, plan: "Plan", ttl: int) -> None:
        """Carry a plan out; where the protocol can, only if nothing changed meanwhile."""


class Plan(NamedTuple):
    """What is added and removed, and what is there and stays. `mark` is the ownership mark of the name."""

    add: tuple[Entry, ...]
    remove: tuple[Entry, ...]
    keep: tuple[Entry, ...]
    mark: Entry


def mark_of(name: str, owner: str) -> Entry:
    """Return the mark of a name; that of a wildcard stands beside it."""
    base = f"_lumos-any.{name[2:]}" if name.startswith("*.") else f"_lumos.{name}"
    return Entry(base, "TXT", f"{MARK_PREFIX}{owner}")


def address_entry(name: str, address: str) -> Entry:
    """Return the record of an address."""
    return Entry(name, "A" if ipaddress.ip_address(address).version == 4 else "AAAA", address)


def planned(driver: Driver, name: str, owner: str, addresses: Iterable[str], *, adopt: bool = False) -> Plan:
    """Return what makes `name` answer with `addresses`, if its records are this owner's or there are none.

    Raises:
        NotOwned: they are somebody else's. With `adopt` only a mark of another owner and a CNAME are refused.
        DnsError: the provider cannot be asked.
    """
    mark = mark_of(name, owner)
    there = driver.entries(name)
    marks = {entry for entry in driver.entries(mark.name) if entry.data.startswith(MARK_PREFIX)}
    if foreign := marks - {mark}:
        raise NotOwned(
            f"{name} belongs to another owner by its mark {min(foreign).data!r} at {mark.name}. Remove that record at "
            "your provider if it is out of date."
        )
    if any(entry.kind == "CNAME" for entry in there):
        raise NotOwned(f"{name} is a CNAME at your provider. Remove it there; a name cannot have addresses beside it.")
    present = {entry for entry in there if entry.kind in ("A", "AAAA")}
    if present and mark not in marks and not adopt:
        shown = ", ".join(sorted(entry.data for entry in present))
        raise NotOwned(
            f"{name} answers with {shown}, which Lumos did not enter. Remove these records or let Lumos take them over."
        )
    wanted = {address_entry(name, address) for address in addresses}
    return Plan(
        add=tuple(sorted(wanted - present)) + (() if mark in marks else (mark,)),
        remove=tuple(sorted(present - wanted)),
        keep=tuple(sorted(wanted & present)),
        mark=mark,
    )
