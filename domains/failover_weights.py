"""Weighted sets: how often each shield of a domain is answered, while it serves."""

from collections.abc import Iterable, Mapping
from typing import Any

from domains.failover_models import Failover, FailoverMode
from domains.models import Domain, DomainServer
from lumos.errors import InvalidInput
from lumos_agent.zone import WEIGHT_MAX
from servers.models import Server

WEIGHT_MIN, WEIGHT_USUAL = 1, 100


def checked_weights(domain: Domain, mode: str, given: Mapping[Any, int]) -> dict[str, int]:
    """Return {server id: weight} as it is kept.

    Raises:
        InvalidInput: the mode has no weights, a server does not carry the domain, or a weight is out of range.
    """
    if given and mode != FailoverMode.WEIGHTED:
        raise InvalidInput(f"Only the mode “{FailoverMode.WEIGHTED}” has weights.", field="weights")
    carriers = {str(pk) for pk in domain.assignments.values_list("server_id", flat=True)}
    found = {str(server): weight for server, weight in sorted(given.items(), key=lambda item: str(item[0]))}
    if foreign := found.keys() - carriers:
        raise InvalidInput(f"No server {min(foreign)[:60]!a} carries {domain.hostname}.", field="weights")
    if not all(WEIGHT_MIN <= weight <= WEIGHT_MAX for weight in found.values()):
        raise InvalidInput(f"A weight is between {WEIGHT_MIN} and {WEIGHT_MAX}.", field="weights")
    return found


def named_weights(weights: Mapping[str, int]) -> dict[str, int]:
    """Return {server's name: weight}, of servers that are still there."""
    names = Server.objects.filter(pk__in=list(weights)).order_by("name").values_list("pk", "name")
    return {name: weights[str(pk)] for pk, name in names}


def weights_by_domain(domain_ids: Iterable[Any]) -> dict[Any, dict[str, int]]:
    """Return {domain: {server id: weight}} of domains that answer by weight, with every server that carries them."""
    rows = Failover.objects.filter(domain_id__in=list(domain_ids), mode=FailoverMode.WEIGHTED)
    chosen: dict[Any, dict[str, int]] = dict(rows.values_list("domain_id", "weights"))
    found: dict[Any, dict[str, int]] = {domain: {} for domain in chosen}
    carried = DomainServer.objects.filter(domain_id__in=chosen).order_by("position", "pk")
    for domain, server in carried.values_list("domain_id", "server_id"):
        found[domain][str(server)] = chosen[domain].get(str(server), WEIGHT_USUAL)
    return found


def weights_by_name(rows: Iterable[Failover]) -> dict[Any, dict[str, int]]:
    """Return {domain: {server's name: weight}} of what people have chosen, for servers that carry the domain."""
    chosen = {row.domain_id: row.weights for row in rows if row.weights}
    found: dict[Any, dict[str, int]] = {domain: {} for domain in chosen}
    carried = DomainServer.objects.filter(domain_id__in=chosen).order_by("server__name")
    for domain, server, name in carried.values_list("domain_id", "server_id", "server__name"):
        if (weight := chosen[domain].get(str(server))) is not None:
            found[domain][name] = weight
    return found
