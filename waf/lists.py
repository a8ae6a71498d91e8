"""Verbs on the lists of domains and of the account. Where `domain` is None, the lists of all domains are meant."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import active_account_id
from domains.models import Domain
from lumos.errors import Conflict, InvalidInput, LimitReached
from lumos_agent.schema import NETWORKS_MAX
from servers import revisions
from servers.models import Server
from waf.entries import canonical_entry, networks_around
from waf.models import ListEntry, ListKind, ListSubscription, Source, touched_listing

BATCH = 1_000
AUDITED_MAX = 100


def lock_scope(domain: Domain | None) -> models.Model:
    """Lock a domain or the account before any server, as all changes do; returns what an audit entry is about."""
    rows: Any = Domain.objects if domain is not None else Account.objects
    found: models.Model = rows.select_for_update(no_key=True).get(pk=domain.pk if domain else active_account_id())
    return found


def bump(domain: Domain | None, *, cause: Any, networks: Iterable[str]) -> None:
    """Push the listings that these entries belong to."""
    servers = Server.objects.all() if domain is None else domain.servers.all()
    touched = {touched_listing(domain and domain.pk, network) for network in networks}
    revisions.bump(servers, cause=cause, touched=touched)


def require_room(new: int) -> None:
    """Refuse what the lists of the account cannot hold.

    Raises:
        LimitReached: they would be too long.
    """
    if new > 0 and ListEntry.objects.count() + new > NETWORKS_MAX:
        raise LimitReached(f"The lists of this account hold {NETWORKS_MAX} entries; remove some first.")


def refuse_self_lockout(domain: Domain | None, denied: Iterable[str]) -> None:
    """Refuse to deny the address that this change comes from, unless an allow list has it.

    Raises:
        InvalidInput: it would be denied.
    """
    if (address := audit.source.get().address) is None:
        return
    around = set(networks_around(address))
    if not (covering := sorted(around.intersection(denied))):
        return
    scopes = Q(domain=None) if domain is None else Q(domain=None) | Q(domain=domain)
    if ListEntry.objects.filter(scopes, kind=ListKind.ALLOW, network__in=around).exists():
        return
    raise InvalidInput(
        f"{covering[0]} contains your own address {address}: you could not reach the site any more. Confirm that you "
        "mean it, or put your address on the allow list first.",
        field="confirm_self_lockout",
    )


@transaction.atomic
def add_list_entry(
    *,
    domain: Domain | None,
    kind: str,
    network: str,
    actor: User,
    note: str = "",
    expires_at: datetime | None = None,
    confirm_self_lockout: bool = False,
) -> ListEntry:
    """Put an entry on the allow or deny list of a domain, or of all.

    Raises:
        InvalidInput: no entry, over already, or it would lock its author out and that is not confirmed.
        Conflict: it is on that list.
        LimitReached: the lists of the account are full.
    """
    canonical = canonical_entry(network)
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("This time is over; choose a later one or none.", field="expires_at")
    if kind == ListKind.DENY and not confirm_self_lockout:
        refuse_self_lockout(domain, [canonical])
    target = lock_scope(domain)
    require_room(1)
    entry = ListEntry(
        domain=domain,
        kind=kind,
        network=canonical,
        note=note,
        expires_at=expires_at,
        added_by=actor,
        source=Source.HAND,
    )
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError as error:
        raise Conflict(f"{canonical} is on this list already.", field="network") from error
    cause = audit.record(actor, audit.Action.LIST_ENTRY_ADDED, target, {kind: [None, canonical]})
    bump(domain, cause=cause, networks=[canonical])
    return entry


@transaction.atomic
def remove_list_entry(*, entry: ListEntry, actor: User) -> None:
    """Take an entry off its list.

    Raises:
        Conflict: it is of a subscription, which would bring it back.
    """
    if entry.subscription_id is not None:
        raise Conflict("This entry comes from a subscription; end the subscription, or allow the address instead.")
    target = lock_scope(entry.domain)
    cause = audit.record(actor, audit.Action.LIST_ENTRY_REMOVED, target, {entry.kind: [entry.network, None]})
    entry.delete()
    bump(entry.domain, cause=cause, networks=[entry.network])


@transaction.atomic
def replace_lists(
    *,
    domain: Domain | None,
    allow: Iterable[str],
    deny: Iterable[str],
    actor: User,
    notes: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Make both lists of a domain, or of all, equal these canonical entries.

    Entries of subscriptions and those that expire stay. `notes` are those of (kind, network); without them entries that
    stay keep theirs and new ones have none.

    Raises:
        LimitReached: the lists of the account would be too long.
        Conflict: somebody else changes them at the same moment.
    """
    target = lock_scope(domain)
    rows = list(ListEntry.objects.filter(domain=domain))
    lasting = {(row.kind, row.network): row.pk for row in rows if is_lasting(row)}
    wanted = {(ListKind.ALLOW, network) for network in allow} | {(ListKind.DENY, network) for network in deny}
    gone = sorted(lasting.keys() - wanted)
    new = sorted(wanted - {(row.kind, row.network) for row in rows})
    require_room(len(new) - len(gone))
    delete_entries([lasting[key] for key in gone])
    create_entries(
        ListEntry(domain=domain, kind=kind, network=name, note=(notes or {}).get((kind, name), ""), added_by=actor)
        for kind, name in new
    )
    changed: dict[str, list[Any]] = {
        kind: [_of_kind(gone, kind), _of_kind(new, kind)] for kind in ListKind.values if gone or new
    }
    if notes is not None:
        noted = _put_notes(domain, notes)
        changed |= {"notes": [None, noted]} if noted else {}
    changed = {name: values for name, values in changed.items() if any(values)}
    if changed:
        cause = audit.record(actor, audit.Action.LISTS_REPLACED, target, changed)
        if gone or new:
            bump(domain, cause=cause, networks=[network for _, network in (*gone, *new)])


def is_lasting(entry: ListEntry) -> bool:
    """Whether an entry is configuration: no subscription keeps it, and it does not end by itself."""
    return entry.subscription_id is None and entry.expires_at is None


def delete_entries(ids: Sequence[Any]) -> None:
    """Delete rows in batches; the caller records and pushes the change."""
    for start in range(0, len(ids), BATCH):
        rows = ListEntry.objects.filter(pk__in=ids[start : start + BATCH])
        rows._raw_delete(rows.db)  # nothing refers to an entry


def create_entries(entries: Iterable[ListEntry]) -> None:
    """Create rows of the account in scope in batches; the caller records and pushes the change.

    Raises:
        Conflict: somebody else changes the list at the same moment.
    """
    rows = list(entries)
    for row in rows:
        row.account_id = active_account_id()
    try:
        with transaction.atomic():
            ListEntry.objects.bulk_create(rows, batch_size=BATCH)
    except IntegrityError as error:
        raise Conflict("Somebody else is changing this list; try again.") from error


def _put_notes(domain: Domain | None, notes: Mapping[tuple[str, str], str]) -> int:
    """Set the notes of the lasting entries of a domain, or of all, which no shield sees; returns how many differed."""
    entries = ListEntry.objects.filter(domain=domain, subscription=None, expires_at=None)
    rows = [row for row in entries if row.note != notes.get((row.kind, row.network), "")]
    for row in rows:
        row.note = notes.get((row.kind, row.network), "")
    ListEntry.objects.bulk_update(rows, ["note"], batch_size=BATCH)
    return len(rows)


def _of_kind(keys: Sequence[tuple[str, str]], kind: str) -> list[str]:
    return audited([network for of, network in keys if of == kind])


def audited(networks: Sequence[str]) -> list[str]:
    """Return networks, shortened to what an audit entry should hold."""
    more = len(networks) - AUDITED_MAX
    return [*networks[:AUDITED_MAX], *([f"and {more} more"] if more > 0 else [])]


@transaction.atomic
def expire_entries(*, limit: int = BATCH) -> int:
    """Remove up to `limit` entries of the account in scope whose time is over; returns how many."""
    rows = ListEntry.objects.filter(expires_at__lte=timezone.now()).select_related("domain").order_by("expires_at")
    expired = list(rows[:limit])
    if not expired:
        return 0
    delete_entries([row.pk for row in expired])
    by_domain: defaultdict[Domain | None, list[str]] = defaultdict(list)
    for row in expired:
        by_domain[row.domain].append(row.network)
    account = Account.objects.get(pk=active_account_id())
    gone = audited([row.network for row in expired])
    cause = audit.record(None, audit.Action.LIST_EXPIRED, account, {"entries": [gone, []]})
    with revisions.together(cause):
        for domain, networks in by_domain.items():
            bump(domain, cause=cause, networks=networks)
    return len(expired)


@transaction.atomic
def end_subscription(*, subscription: ListSubscription, actor: User) -> None:
    """Stop following a list and take its entries out."""
    domain = subscription.domain
    target = lock_scope(domain)
    rows = list(ListEntry.objects.filter(subscription=subscription).values_list("pk", "network"))
    delete_entries([pk for pk, _ in rows])
    cause = audit.record(actor, audit.Action.SUBSCRIPTION_REMOVED, target, {"url": [subscription.url, None]})
    subscription.delete()
    if rows:
        bump(domain, cause=cause, networks=[network for _, network in rows])
