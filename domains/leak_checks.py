"""Looks for leaking origins: when somebody asks, and once a week for every domain."""

import logging
import random
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.tenancy import active_account_id
from domains import cdn_networks, delegation
from domains.leak_models import LeakCheck
from domains.leaks import Place, Question, look
from domains.models import Domain, Origin, Tls
from domains.orders import registered_domain
from lumos.errors import Conflict, InvalidInput
from servers import wake
from servers.models import Server
from servers.peers import addresses_of

log = logging.getLogger(__name__)

EVERY = timedelta(days=7)
LEASE = timedelta(minutes=5)
PAUSE = timedelta(minutes=1)
BATCH = 20
NEW_AT_ONCE = 500


@transaction.atomic
def ask(*, domain_id: uuid.UUID, actor: User) -> LeakCheck:
    """Have a domain's origins looked for now; who asks again while that goes on gets the same.

    Raises:
        InvalidInput: the domain stands for all names.
        Conflict: the last look was a moment ago.
        Domain.DoesNotExist: it is gone.
    """
    domain = Domain.objects.select_for_update(no_key=True).get(pk=domain_id)
    if domain.hostname == "*":
        raise InvalidInput("A domain for all names has no name of its own to look for.")
    now = timezone.now()
    row: LeakCheck = LeakCheck.objects.filter(domain=domain).first() or LeakCheck(domain=domain)
    if row.is_awaited and row.asked_at is not None and row.asked_at > now - LEASE:
        return row
    if row.looked_at is not None and row.looked_at > now - PAUSE:
        raise Conflict("The last look was a moment ago; wait a minute before the next one.")
    row.asked_at = row.due_at = now
    row.save()
    audit.record(actor, audit.Action.ORIGIN_CHECK_ASKED, domain)
    _begin_on_commit(row)
    return row


def _begin_on_commit(row: LeakCheck) -> None:
    from domains.tasks import check_origin

    arguments = (str(row.account_id), str(row.domain_id))
    transaction.on_commit(lambda: check_origin.apply_async(arguments, retry=False), robust=True)


def run(domain_id: uuid.UUID) -> None:
    """Look, if it is due; of several at once only one does."""
    now = timezone.now()
    due = LeakCheck.objects.filter(domain_id=domain_id, due_at__lte=now)
    if not due.update(due_at=now + LEASE):
        return
    domain = Domain.objects.exclude(hostname="*").filter(pk=domain_id).first()
    if domain is None:
        return
    question = _question(domain)
    if not connection.in_atomic_block:
        connection.close()  # slow name servers must not hold a connection to the database
    findings = [asdict(finding) for finding in look(question, delegation.NETWORK)]
    now = timezone.now()
    LeakCheck.objects.filter(domain_id=domain_id).update(findings=findings, looked_at=now, due_at=now + EVERY)
    log.info("origin_looked_for", extra={"domain": str(domain_id)})
    wake.pages_on_commit(active_account_id(), "servers")


def _question(domain: Domain) -> Question:
    hostname = domain.hostname.removeprefix("*.")
    shields = frozenset(address for server in Server.objects.all() for address in addresses_of(server))
    places = [
        Place(address=row.address, port=row.port, is_tls=row.tls != Tls.OFF or domain.is_passed_through)
        for row in Origin.objects.filter(domain=domain).order_by("position", "pk")
    ]
    for route in domain.traffic.get("routes", ()):
        places += [
            Place(address=one["address"], port=one["port"], is_tls=one.get("tls", "off") != "off")
            for one in route["origins"]
        ]
    return Question(
        hostname=hostname,
        registered=registered_domain(hostname),
        places=list(dict.fromkeys(places)),
        shields=shields,
        cdns=cdn_networks.everybodys(),
    )


def due(now: datetime) -> list[tuple[Any, Any]]:
    """Return (account, domain) of all tenants whose turn it is, the longest waiting first, a batch at a time."""
    rows = LeakCheck.unscoped.filter(due_at__lte=now).order_by("due_at")
    return list(rows.values_list("account_id", "domain_id")[:BATCH])


def schedule_new(now: datetime) -> None:
    """Give domains of all tenants that were never looked at a moment within the week."""
    rows: Iterable[tuple[Any, Any]] = (
        Domain.unscoped.filter(leak_check=None).exclude(hostname="*").values_list("account_id", "pk")[:NEW_AT_ONCE]
    )
    LeakCheck.unscoped.bulk_create(
        [
            LeakCheck(account_id=account, domain_id=domain, due_at=now + EVERY * random.random())  # noqa: S311
            for account, domain in rows
        ],
        ignore_conflicts=True,
    )
