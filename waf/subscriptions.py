"""Lists that others publish: fetched through the client that guards against requests to our own network."""

import hashlib
import logging
import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import Domain
from lumos.errors import AppError, LimitReached
from lumos.net import Fetched, FetchError, Reach, checked_url, fetch
from lumos_agent.schema import is_network
from waf import lists
from waf.entries import ParsedList, parsed_list
from waf.models import ListEntry, ListSubscription, Source

log = logging.getLogger(__name__)

SUBSCRIPTIONS_MAX = 50
RETRY = timedelta(hours=1)
BAD_LINES_SHARE_MAX = 0.05


@transaction.atomic
def add_subscription(
    *, domain: Domain | None, kind: str, url: str, actor: User, interval_hours: int = 24
) -> ListSubscription:
    """Follow a list; it is fetched within a minute.

    Raises:
        InvalidInput: no URL that may be fetched.
        LimitReached: the account follows enough lists.
    """
    checked_url(url)
    target = lists.lock_scope(domain)
    if ListSubscription.objects.count() >= SUBSCRIPTIONS_MAX:
        raise LimitReached(f"This account follows {SUBSCRIPTIONS_MAX} lists; end a subscription first.")
    row = ListSubscription(
        domain=domain, kind=kind, url=url, interval_hours=interval_hours, next_fetch_at=timezone.now()
    )
    row.save()
    audit.record(actor, audit.Action.SUBSCRIPTION_ADDED, target, {"url": [None, url], "list": [None, kind]})
    return row


@transaction.atomic
def change_interval(*, subscription: ListSubscription, interval_hours: int, actor: User) -> None:
    """Fetch a list more or less often; its entries stay."""
    target = lists.lock_scope(subscription.domain)
    soon = min(subscription.next_fetch_at, timezone.now() + timedelta(hours=interval_hours))
    rows = ListSubscription.objects.filter(pk=subscription.pk)
    rows.update(interval_hours=interval_hours, next_fetch_at=soon)
    changed = {"interval_hours": [subscription.interval_hours, interval_hours]}
    audit.record(actor, audit.Action.SUBSCRIPTION_CHANGED, target, changed)


def refresh(*, subscription_id: uuid.UUID, reach: Reach | None = None) -> None:
    """Fetch a list that is due and make its entries follow; nothing happens when another worker has it.

    What fails is kept in the row, and the entries stay as they are until a later fetch succeeds.
    """
    now = timezone.now()
    row = ListSubscription.objects.filter(pk=subscription_id, next_fetch_at__lte=now).first()
    if row is None:
        return
    due = ListSubscription.objects.filter(pk=row.pk, next_fetch_at=row.next_fetch_at)
    if due.update(next_fetch_at=now + timedelta(hours=row.interval_hours)) != 1:
        return
    try:
        problem = _follow(row, fetch(row.url, etag=row.etag, reach=reach))
    except AppError as error:
        soon = now + min(RETRY, timedelta(hours=row.interval_hours))
        ListSubscription.objects.filter(pk=row.pk).update(error=error.detail[:300], next_fetch_at=soon)
        log.warning("subscription_failed", extra={"subscription": str(row.pk), "error": error.detail})
    else:
        ListSubscription.objects.filter(pk=row.pk).update(error=problem, fetched_at=now)


def _follow(row: ListSubscription, fetched: Fetched) -> str:
    """Make the entries those of the answer; returns what is wrong with single lines."""
    if fetched.body is None:
        return row.error
    content_hash = hashlib.sha256(fetched.body).hexdigest()
    if content_hash == row.content_hash:
        ListSubscription.objects.filter(pk=row.pk).update(etag=fetched.etag)
        return row.error
    parsed = parsed_list(fetched.body.decode(errors="replace"))
    wanted = [entry for entry in parsed.entries if is_network(entry) or entry.startswith("AS")]
    problem = _judged(parsed, len(wanted))
    with transaction.atomic():
        _put(row, wanted)
        facts = {"etag": fetched.etag, "content_hash": content_hash, "entries_count": len(wanted)}
        ListSubscription.objects.filter(pk=row.pk).update(**facts)
    return problem


def _judged(parsed: ParsedList, usable: int) -> str:
    """Refuse what is no list, such as an error page; single bad lines are left out and named."""
    if not usable:
        raise FetchError("The answer has no addresses in it; the entries of before stay.")
    if not parsed.errors:
        return ""
    first = parsed.errors[0]
    named = f"line {first.line} (“{first.text[:40]}”)"
    if len(parsed.errors) > usable * BAD_LINES_SHARE_MAX:
        raise FetchError(f"{len(parsed.errors)} lines are no addresses, the first is {named}; the entries stay.")
    return f"{len(parsed.errors)} lines are no addresses and were left out, the first is {named}."


def _put(row: ListSubscription, wanted: list[str]) -> None:
    target = lists.lock_scope(row.domain)
    rows = ListEntry.objects.filter(subscription=row).values_list("network", "pk")
    present = dict(rows)
    gone = sorted(present.keys() - set(wanted))
    new = [network for network in wanted if network not in present]
    lists.require_room(len(new) - len(gone))
    if not new and not gone:
        return
    lists.delete_entries([present[network] for network in gone])
    about: dict[str, Any] = {"domain": row.domain, "kind": row.kind, "source": Source.SUBSCRIPTION, "subscription": row}
    lists.create_entries(ListEntry(network=network, **about) for network in new)
    changed: dict[str, list[Any]] = {"url": [None, row.url], row.kind: [lists.audited(gone), lists.audited(new)]}
    cause = audit.record(None, audit.Action.SUBSCRIPTION_FETCHED, target, changed)
    lists.bump(row.domain, cause=cause, networks=[*gone, *new])
