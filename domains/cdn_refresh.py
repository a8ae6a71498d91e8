"""The daily look at what CDNs publish as their networks.

Whoever is in such a list may say who a visitor is, so a list is believed only if it is a plausible one: public
networks, not too wide, most of what was known before still there. Otherwise what was known stays, and the job fails,
which the operator is told.
"""

import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

import msgspec
from django.db import transaction
from msgspec import Struct

from accounts import audit
from accounts.tenancy import tenant_scope
from domains import cdn_networks
from domains.cdn_models import CdnList
from domains.models import Domain
from lumos.addresses import IpNetwork, is_public_network
from lumos.errors import AppError
from lumos.net import Reach, fetch
from lumos_agent.cdns import NETWORKS_MAX, Name, cdns
from servers import revisions
from servers.models import Server

log = logging.getLogger(__name__)

EVERY = timedelta(hours=23)
STALE = timedelta(days=7)
REACH = Reach(bytes_max=256 * 1024)
# The widest networks of today are a /13 and a /29, all of a CDN's together a /11 and a /28. Four times as wide is
# plausible growth; the sum keeps a list from covering the Internet in pieces.
BITS = {4: 32, 6: 128}
WIDEST = {4: 11, 6: 27}
WIDEST_SUM = {4: 9, 6: 26}


class ListRefused(Exception):
    """What a CDN is said to publish cannot be its list of networks."""


class CdnsInTrouble(Exception):
    """Lists that were refused, or that nobody could fetch for days: the operator should look."""


class _FastlyList(Struct):
    """https://www.fastly.com/documentation/reference/api/utils/public-ip-list/."""

    addresses: tuple[str, ...]
    ipv6_addresses: tuple[str, ...]


def _lines(body: bytes) -> Iterable[str]:
    return body.decode("ascii").split()


def _fastly(body: bytes) -> Iterable[str]:
    found = msgspec.json.decode(body, type=_FastlyList)
    return (*found.addresses, *found.ipv6_addresses)


_FORMATS: Mapping[Name, Callable[[bytes], Iterable[str]]] = {"cloudflare": _lines, "fastly": _fastly}


def refresh_due(now: datetime, *, reach: Reach = REACH) -> dict[str, int]:
    """Fetch every list that is a day old, or could not be fetched, and push what changed to the servers that use it.

    Raises:
        CdnsInTrouble: names the lists that are not as they should be; the others are refreshed.
    """
    changed, troubles = 0, []
    for name in cdns():
        row, _ = CdnList.objects.get_or_create(name=name)
        if row.error or row.fetched_at is None or row.fetched_at <= now - EVERY:
            try:
                changed += _refresh(row, now, reach)
            except (AppError, ListRefused) as error:
                CdnList.objects.filter(pk=name).update(error=str(error)[:300], tried_at=now)
                log.warning("cdn_list_not_refreshed", extra={"cdn": name, "error": str(error)})
                if isinstance(error, ListRefused) or _seen_on(row) <= (now - STALE).date():
                    troubles.append(f"{name}: {error}")
        if not _push(name):
            troubles.append(f"{name}: not every account's servers were told")
    if troubles:
        raise CdnsInTrouble("; ".join(troubles))
    return {"changed": changed}


def _seen_on(row: CdnList) -> date:
    """Return the day on which what is known was published for certain."""
    name: Name = row.name
    return row.fetched_at.date() if row.fetched_at else date.fromisoformat(cdns()[name].as_of)


def _refresh(row: CdnList, now: datetime, reach: Reach) -> bool:
    """Take what a publisher says; returns whether that is new."""
    name: Name = row.name
    known = cdn_networks.known()
    others = chain.from_iterable(one.networks for other, one in known.items() if other != name)
    networks = checked(_fetched(name, reach), known=known[name].networks, others=others)
    facts: dict[str, Any] = {"fetched_at": now, "tried_at": now, "error": ""}
    is_new = networks != tuple(row.networks) or networks != known[name].networks
    if is_new:
        facts |= {"networks": networks, "as_of": now.date(), "is_pushed": False}
        log.info("cdn_list_changed", extra={"cdn": name, "networks": len(networks)})
    CdnList.objects.filter(pk=name).update(**facts)
    return is_new


def _fetched(name: Name, reach: Reach) -> list[str]:
    """Return what the publisher lists, as it is written there.

    Raises:
        FetchError, InvalidInput: nobody answers, or not in time.
        ListRefused: the answer has another form.
    """
    found: list[str] = []
    for url in cdns()[name].sources:
        body = fetch(url, reach=reach).body or b""
        try:
            found += _FORMATS[name](body)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise ListRefused(f"{url} is no list of networks: {error}"[:250]) from error
    return found


def checked(texts: Sequence[str], *, known: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return a plausible list in canonical form: sorted, none inside another.

    Args:
        texts: networks as the publisher writes them.
        known: what the CDN had before.
        others: what belongs to other CDNs.

    Raises:
        ListRefused: says what is wrong with it.
    """
    if not 0 < len(texts) <= NETWORKS_MAX:
        raise ListRefused(f"The list has {len(texts)} networks; 1 to {NETWORKS_MAX} are expected.")
    found = _parsed(texts)
    for network in found:
        if not is_public_network(network):
            raise ListRefused(f"{network} is no network of the public Internet.")
        if network.prefixlen < WIDEST[network.version]:
            raise ListRefused(f"{network} is wider than any CDN's network.")
    for version in (4, 6):
        before, after, foreign = (_ranges(networks, version) for networks in (_parsed(known), found, _parsed(others)))
        if _size(after) > 1 << (BITS[version] - WIDEST_SUM[version]):
            raise ListRefused(f"The IPv{version} networks together are wider than any CDN's.")
        if _common(after, foreign):
            raise ListRefused(f"Some of the IPv{version} networks are another CDN's.")
        if 2 * _common(before, after) < _size(before):
            raise ListRefused(f"More than half of the IPv{version} addresses that were known are missing.")
    return tuple(sorted(map(str, found)))


def _parsed(texts: Iterable[str]) -> list[IpNetwork]:
    """Return networks without those that are inside others, IPv4 first."""
    parsed: dict[int, list[Any]] = {4: [], 6: []}
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ListRefused(f"“{text[:50]}” is no network.") from error
        parsed[network.version].append(network)
    return [*ipaddress.collapse_addresses(parsed[4]), *ipaddress.collapse_addresses(parsed[6])]


def _ranges(networks: Iterable[IpNetwork], version: int) -> list[tuple[int, int]]:
    """Return (first address, first address behind) of each network of a version."""
    same = [one for one in networks if one.version == version]
    return [(int(one.network_address), int(one.network_address) + one.num_addresses) for one in same]


def _size(ranges: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in ranges)


def _common(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
    """Return how many addresses are in both."""
    return sum(max(0, min(end, e) - max(start, s)) for start, end in some for s, e in others)


def _push(name: Name) -> bool:
    """Give a changed list to the servers that use it, account by account; whether nothing is left to do.

    A run that ends in between is finished by the next one; who was told already is told again, which changes nothing.
    """
    waiting = CdnList.objects.filter(pk=name, is_pushed=False)
    row = waiting.first()
    if row is None:
        return True
    is_done = True
    for account_id, domain_ids in _trusting(name).items():
        try:
            with tenant_scope(account_id), transaction.atomic():
                entry = audit.record(None, audit.Action.CDN_NETWORKS_CHANGED, row, {"as_of": [None, str(row.as_of)]})
                revisions.bump(Server.objects.filter(assignments__domain__in=domain_ids).distinct(), cause=entry)
        except Exception:
            is_done = False
            log.exception("cdn_list_not_pushed", extra={"account": str(account_id), "cdn": name})
    if is_done:
        waiting.update(is_pushed=True)
    return is_done


def _trusting(name: Name) -> dict[Any, list[Any]]:
    """Return {account: domains} of all tenants' domains that trust a CDN."""
    found: dict[Any, list[Any]] = {}
    rows = Domain.unscoped.filter(traffic__has_key="trusted_cdns").values_list("account_id", "pk", "traffic")
    for account_id, pk, traffic in rows.iterator():
        if name in traffic["trusted_cdns"]:
            found.setdefault(account_id, []).append(pk)
    return found
