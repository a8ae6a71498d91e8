"""The control plane as a vantage point: one round probes every shield of all accounts."""

import asyncio
import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.tenancy import tenant_scope
from lumos.addresses import is_public
from lumos_agent.probes import Seen, Target, probe
from lumos_agent.verdict import SLOW_SECONDS, Streak, after
from servers.models import ProbeKey, ProbeRound, Server, Sight
from servers.peers import PROBED, addresses_of, keys_of, revealed

AT_ONCE = 500


def _is_allowed(address: str) -> bool:
    """Whether the control plane may connect to an address that people entered."""
    return settings.PROBE_PRIVATE_ADDRESSES or is_public(ipaddress.ip_address(address))


def _targets() -> tuple[list[Target], dict[str, Any]]:
    """Return all addresses to probe, and {server id: account id}."""
    servers = list(Server.unscoped.filter(PROBED, connected_at__isnull=False))
    keys = revealed(ProbeKey.unscoped.filter(server__in=[server.pk for server in servers]))
    for server in servers:
        if server.pk not in keys:
            with tenant_scope(server.account_id):
                keys |= keys_of([server.pk])
    found = [
        Target(str(server.pk), address, server.facts["probe_port"], keys[server.pk])
        for server in servers
        for address in addresses_of(server)
        if _is_allowed(address)
    ]
    return found, {str(server.pk): server.account_id for server in servers}


async def _probed(targets: Iterable[Target]) -> list[Seen | None]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(target: Target) -> Seen | None:
        async with room:
            return await probe(target)

    return await asyncio.gather(*map(one, targets))


def probe_round() -> dict[Any, list[Any]]:
    """Probe every shield once; returns {account: servers} whose settled results changed."""
    targets, accounts = _targets()
    answers = asyncio.run(_probed(targets))
    seen = {target: answer for target, answer in zip(targets, answers, strict=True) if answer is not None}
    reached = sum(answer.is_ok for answer in seen.values())
    figures = {"at": timezone.now(), "probed": len(targets), "reached": reached}
    ProbeRound.objects.update_or_create(pk=1, defaults=figures)
    known = {(str(row.server_id), row.address): row for row in Sight.unscoped.filter(vantage=None)}
    changed: defaultdict[Any, list[Any]] = defaultdict(list)
    for target, answer in seen.items():
        account_id = accounts[target.server]
        with tenant_scope(account_id):
            if _kept(target, answer, known.get((target.server, target.address))):
                changed[account_id].append(target.server)
    _forget(set(known) - {(target.server, target.address) for target in seen})
    return changed


def _kept(target: Target, answer: Seen, row: Sight | None) -> bool:
    """Keep one answer; True if what is settled, or how fast it is, changed."""
    streak = Streak() if row is None else Streak(is_ok=row.is_ok, against=row.against)
    new = after(streak, answer.is_ok)
    is_same = new == streak and row is not None and answer.reason == row.reason
    if is_same and row is not None and (answer.seconds >= SLOW_SECONDS) == (row.seconds >= SLOW_SECONDS):
        return False
    values: dict[str, Any] = {"is_ok": new.is_ok, "against": new.against}
    if new.is_ok == answer.is_ok:
        values |= {"reason": answer.reason[:300], "seconds": answer.seconds}
    if new.is_ok != streak.is_ok or row is None:
        values["since"] = timezone.now()
    with transaction.atomic():
        Sight.objects.update_or_create(server_id=target.server, vantage=None, address=target.address, defaults=values)
    return new.is_ok == answer.is_ok


def _forget(gone: Iterable[tuple[str, str]]) -> None:
    """Forget addresses that are no longer anybody's, or that this machine has no way to."""
    for server, address in gone:
        Sight.unscoped.filter(server_id=server, address=address, vantage=None).delete()
