"""The budget of certificate orders: how many the CA allows, counted over all shields of an account.

Limits are Let's Encrypt's (https://letsencrypt.org/docs/rate-limits/); other CAs have none that are known.
"""

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from publicsuffixlist import PublicSuffixList

from accounts.models import Account
from accounts.tenancy import active_account_id
from domains.acme import acme_part
from domains.models import CertificateOrder, DomainServer
from lumos_agent import protocol

KEPT = timedelta(days=8)
WEEK = timedelta(days=7)
_SUFFIXES = PublicSuffixList()


class Limit(NamedTuple):
    """At most `orders` within `window`; `counts` names what they are counted by."""

    orders: int
    window: timedelta
    counts: str
    text: str


LIMITS: dict[str, tuple[Limit, ...]] = {
    "https://acme-v02.api.letsencrypt.org/directory": (
        Limit(5, timedelta(hours=1), "name on server", "{server} ordered {count} times for {hostname} within an hour"),
        Limit(5, WEEK, "name", "your shields ordered {count} certificates for {hostname} within a week"),
        Limit(50, WEEK, "registered", "your shields ordered {count} certificates below {registered} within a week"),
        Limit(300, timedelta(hours=3), "server", "{server} ordered {count} certificates within three hours"),
    )
}


def registered_domain(hostname: str) -> str:
    """Return the name that was registered, by the list of public suffixes (https://publicsuffix.org)."""
    name = hostname.removeprefix("*.")
    return _SUFFIXES.privatesuffix(name) or name


@transaction.atomic
def order_answer(*, server_id: uuid.UUID, domain_id: str) -> protocol.OrderAnswer:
    """Count an order that a shield wants to make, or hold it back. Shields of one account ask one after the other."""
    Account.objects.select_for_update(no_key=True).get(pk=active_account_id())
    rows = DomainServer.objects.select_related("domain", "server")
    assignment = rows.filter(server_id=server_id, domain_id=domain_id).first()
    if assignment is None:
        reason = "This domain is no longer on this shield."
        return protocol.OrderAnswer(domain_id=domain_id, is_granted=False, reason=reason, retry_seconds=60)
    ca = acme_part()
    directory_url = ca.directory_url if ca else ""
    wanted = CertificateOrder(
        server_id=server_id,
        domain_id=assignment.domain_id,
        hostname=assignment.domain.hostname,
        registered=registered_domain(assignment.domain.hostname),
        directory_url=directory_url,
    )
    for limit in LIMITS.get(directory_url, ()):
        if (free_at := _free_at(limit, wanted)) is not None:
            return _held(limit, wanted, assignment.server.name, free_at)
    wanted.save()
    return protocol.OrderAnswer(domain_id=domain_id, is_granted=True)


def _free_at(limit: Limit, wanted: CertificateOrder) -> datetime | None:
    """Return when a limit leaves room again, or None if it does now."""
    by = {
        "name on server": Q(hostname=wanted.hostname, server_id=wanted.server_id),
        "name": Q(hostname=wanted.hostname),
        "registered": Q(registered=wanted.registered),
        "server": Q(server_id=wanted.server_id),
    }[limit.counts]
    rows = CertificateOrder.objects.filter(by, directory_url=wanted.directory_url)
    recent = rows.filter(created_at__gt=timezone.now() - limit.window).order_by("-created_at")
    times = list(recent.values_list("created_at", flat=True)[: limit.orders])
    return times[-1] + limit.window if len(times) == limit.orders else None


def _held(limit: Limit, wanted: CertificateOrder, server: str, free_at: datetime) -> protocol.OrderAnswer:
    what = limit.text.format(server=server, count=limit.orders, hostname=wanted.hostname, registered=wanted.registered)
    seconds = max(int((free_at - timezone.now()).total_seconds()), 1)
    return protocol.OrderAnswer(
        domain_id=str(wanted.domain_id),
        is_granted=False,
        reason=f"Held back: {what}, and the CA issues no more. The next order is possible on "
        f"{free_at:%Y-%m-%d %H:%M} UTC; a certificate that is there goes on being served.",
        retry_seconds=seconds,
    )


def forget_old_orders() -> None:
    """Remove what no limit looks at any more, of all tenants at once."""
    CertificateOrder.unscoped.filter(created_at__lt=timezone.now() - KEPT).delete()
