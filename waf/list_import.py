"""Lists as text: what an import would do, and doing it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import models, transaction

from accounts import audit
from accounts.models import User
from domains.models import Domain
from lumos.errors import InvalidInput
from waf import lists
from waf.entries import LineError, parsed_list
from waf.models import ListEntry, ListKind, Source

ERRORS_SHOWN = 5
Mode = Literal["add", "replace"]


class ImportMode(models.TextChoices):
    """Whether entries that the text does not name stay."""

    ADD = "add", "Add to the list"
    REPLACE = "replace", "Replace the list"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """How many entries an import adds, removes and finds there already, and the lines that are no entries."""

    added: int
    removed: int
    kept: int
    errors: list[LineError]


@transaction.atomic
def import_list(
    *,
    domain: Domain | None,
    kind: str,
    text: str,
    mode: str,
    actor: User,
    note: str = "",
    expires_at: datetime | None = None,
    dry_run: bool = False,
    confirm_self_lockout: bool = False,
) -> Imported:
    """Put the entries of a text on one list, all or none; with `dry_run` only count.

    `replace` takes out what the text does not name, but for entries of subscriptions and those that expire.

    Raises:
        InvalidInput: a line is no entry, or the author would be locked out and that is not confirmed.
        LimitReached: the lists of the account would be too long.
        Conflict: somebody else changes the list at the same moment.
    """
    parsed = parsed_list(text)
    if parsed.errors and not dry_run:
        raise InvalidInput(_as_text(parsed.errors), field="text")
    if kind == ListKind.DENY and not confirm_self_lockout and not dry_run:
        lists.refuse_self_lockout(domain, parsed.entries)
    target = lists.lock_scope(domain)
    rows = ListEntry.objects.filter(domain=domain, kind=kind, subscription=None)
    present = {network: (pk, ends) for pk, network, ends in rows.values_list("pk", "network", "expires_at")}
    wanted = set(parsed.entries)
    new = [network for network in parsed.entries if network not in present]
    gone = {}
    if mode == ImportMode.REPLACE:
        gone = {name: pk for name, (pk, ends) in present.items() if name not in wanted and ends is None}
    counts = Imported(added=len(new), removed=len(gone), kept=len(wanted) - len(new), errors=parsed.errors)
    lists.require_room(len(new) - len(gone))
    if dry_run or not (new or gone):
        return counts
    lists.delete_entries(list(gone.values()))
    about: dict[str, Any] = {"note": note, "expires_at": expires_at, "added_by": actor, "source": Source.IMPORT}
    lists.create_entries(ListEntry(domain=domain, kind=kind, network=network, **about) for network in new)
    changed = {kind: [lists.audited(sorted(gone)), lists.audited(new)]}
    cause = audit.record(actor, audit.Action.LIST_IMPORTED, target, changed)
    lists.bump(domain, cause=cause, networks=[*new, *gone])
    return counts


def _as_text(errors: Iterable[LineError]) -> str:
    all_errors = list(errors)
    shown = [f"Line {error.line} (“{error.text}”): {error.message}" for error in all_errors[:ERRORS_SHOWN]]
    more = len(all_errors) - len(shown)
    return " ".join(shown) + (f" {more} more lines are no entries." if more else "")
