"""Rows -> what a snapshot holds of failover, and what zones leave out: pure, in a constant number of queries."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, cast

from domains.failover_models import Failover, FailoverMode
from domains.models import DomainServer
from lumos_agent.failover import Member, Rule
from servers.models import ServerVerdict, ShieldState
from servers.peers import addresses_of


def members_by_domain(domain_ids: Iterable[Any]) -> dict[Any, tuple[Member, ...]]:
    """Return {domain: its shields in order, those with public addresses}."""
    found: defaultdict[Any, list[Member]] = defaultdict(list)
    rows = DomainServer.objects.filter(domain_id__in=list(domain_ids)).order_by("position", "pk")
    for row in rows.select_related("server"):
        if addresses := addresses_of(row.server):
            found[row.domain_id].append(Member(server=str(row.server_id), addresses=addresses))
    return {domain: tuple(members) for domain, members in found.items()}


def rule_of(row: Failover, hostname: str, members: tuple[Member, ...]) -> Rule:
    """Return a row as the rule that shields know as well; weights stand beside the addresses in the zone."""
    mode = FailoverMode.ALL if row.mode == FailoverMode.WEIGHTED else row.mode
    return Rule(
        domain=str(row.domain_id),
        hostname=hostname,
        mode=cast(Literal["ordered", "all"], mode),
        members=members,
        hold_down_seconds=row.hold_down_seconds,
        gap_seconds=row.gap_seconds,
        preferred=str(row.preferred_id or ""),
        is_held=row.is_held,
        drilled=str(row.drilled_id or ""),
        answered=tuple(row.answered),
    )


def failover_parts() -> tuple[Rule, ...]:
    """Return the rules of the account, by hostname."""
    rows = list(Failover.objects.select_related("domain").order_by("domain__hostname"))
    members = members_by_domain(row.domain_id for row in rows)
    return tuple(rule_of(row, row.domain.hostname, members[row.domain_id]) for row in rows if row.domain_id in members)


def down_addresses(domain_ids: Iterable[Any]) -> dict[Any, frozenset[str]]:
    """Return {domain: addresses of its shields that are not answered}: by its failover, or by the shields' verdicts."""
    ids = set(domain_ids)
    members = members_by_domain(ids)
    answered = dict(Failover.objects.filter(domain_id__in=ids).values_list("domain_id", "addresses"))
    verdicts = ServerVerdict.objects.values_list("server_id", "state", "down_addresses")
    dead = {str(server): (state == ShieldState.DOWN, addresses) for server, state, addresses in verdicts}
    return {
        domain: frozenset(
            address
            for member in theirs
            for address in member.addresses
            if (address not in answered[domain] if domain in answered else _fails(dead.get(member.server), address))
        )
        for domain, theirs in members.items()
    }


def _fails(judged: tuple[bool, list[str]] | None, address: str) -> bool:
    return judged is not None and (judged[0] or address in judged[1])
