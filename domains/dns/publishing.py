"""What a domain answers, brought to its provider: claimed, retried, and never over records of others."""

import logging
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.dns import DnsError, Driver, Entry, NotOwned, Plan, planned
from domains.dns.lexicon_driver import Lexicon
from domains.dns.rfc2136 import Rfc2136
from domains.failover_models import DnsProvider, Failover, ProviderKind, Publication
from domains.models import Domain
from lumos.errors import AppError, Conflict
from lumos.net import Reach
from servers import wake

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=90)
RETRY_MAX_SECONDS = 300


def driver_of(provider: DnsProvider) -> Driver:
    """Return access to a provider's zone."""
    secret = provider.credential.reveal()
    if provider.kind == ProviderKind.CLOUDFLARE:
        return Lexicon(provider="cloudflare", zone=provider.zone, token=secret, endpoint=settings.CLOUDFLARE_API_URL)
    reach = Reach(admits=lambda _: True) if settings.PROBE_PRIVATE_ADDRESSES else Reach()
    return Rfc2136(
        zone=provider.zone, server=provider.server, port=provider.port, key_name=provider.key_name,
        algorithm=provider.algorithm, secret=secret, reach=reach,
    )  # fmt: skip


def _row(domain_id: Any) -> Failover | None:
    rows = Failover.objects.filter(domain_id=domain_id, provider__isnull=False)
    found: Failover | None = rows.select_related("provider", "domain").first()
    return found


def plan_of(row: Failover, *, adopt: bool = False) -> tuple[Driver, Plan]:
    """Return what would be written for a domain now, and by whom.

    Raises:
        NotOwned, DnsError: as `planned`.
    """
    if row.provider is None:
        raise Conflict("This domain is published at no provider.")
    driver = driver_of(row.provider)
    return driver, planned(driver, row.domain.hostname, str(row.domain_id), row.addresses, adopt=adopt)


def publish(domain_id: uuid.UUID, *, adopt: bool = False) -> None:
    """Bring the records to what the domain answers, if somebody has to; running it twice does it once."""
    now = timezone.now()
    waiting = Failover.objects.filter(domain_id=domain_id, publication=Publication.DUE, publish_at__lte=now)
    if not waiting.update(publish_at=now + LEASE, publish_tries=F("publish_tries") + 1):
        return
    row = _row(domain_id)
    if row is None:
        return
    try:
        driver, plan = plan_of(row, adopt=adopt)
        if plan.add or plan.remove:
            driver.change(plan, row.ttl)
    except NotOwned as error:
        _settle(row, publication=Publication.FAILED, publish_error=error.detail[:500], publish_at=None)
    except DnsError as error:
        pause = timedelta(seconds=min(5 * 2**row.publish_tries, RETRY_MAX_SECONDS))
        _settle(row, publish_error=error.detail[:500], publish_at=timezone.now() + pause)
        log.warning("dns_not_published", extra={"domain": str(domain_id), "error": error.detail})
    else:
        _settle(
            row, publication=Publication.DONE, published=row.addresses, publish_error="", publish_tries=0,
            publish_at=None,
        )  # fmt: skip
        log.info("dns_published", extra={"domain": str(domain_id)})


@transaction.atomic
def _settle(row: Failover, **values: Any) -> None:
    """Write down how it went, unless the answer changed meanwhile: then it is due again already."""
    Domain.objects.select_for_update(no_key=True).filter(pk=row.domain_id).first()
    now = Failover.objects.filter(pk=row.pk)
    if now.filter(addresses=row.addresses, publish_at=row.publish_at).update(**values):
        wake.pages_on_commit(row.account_id, "servers")


def adopt(*, domain: Domain, actor: User) -> None:
    """Take the name's records over from whoever made them, as a person wants it.

    Raises:
        Conflict: the domain is published nowhere.
        NotOwned: another owner's mark, or a CNAME, is there.
    """
    row = _row(domain.pk)
    if row is None:
        raise Conflict(f"{domain.hostname} is published at no provider.")
    plan_of(row, adopt=True)
    with transaction.atomic():
        audit.record(actor, audit.Action.FAILOVER_ADOPTED, domain)
        Failover.objects.filter(pk=row.pk).update(publication=Publication.DUE, publish_at=timezone.now())
    publish(domain.pk, adopt=True)


def dry_run(domain: Domain) -> dict[str, Any]:
    """Return {add, remove, keep, refused} for a domain's records; `refused` says why nothing would be written."""
    row = _row(domain.pk)
    empty: dict[str, Any] = {"add": [], "remove": [], "keep": [], "refused": ""}
    if row is None:
        return empty
    try:
        _, plan = plan_of(row)
    except AppError as error:
        return empty | {"refused": error.detail}
    return {part: [_shown(entry) for entry in getattr(plan, part)] for part in ("add", "remove", "keep")} | {
        "refused": ""
    }


def _shown(entry: Entry) -> dict[str, str]:
    return {"name": entry.name, "kind": entry.kind, "content": entry.data}


def due(now: datetime) -> list[tuple[Any, Any]]:
    """Return (account, domain) of all tenants whose records wait to be written."""
    rows = Failover.unscoped.filter(publication=Publication.DUE, publish_at__lte=now)
    return list(rows.values_list("account_id", "domain_id"))
