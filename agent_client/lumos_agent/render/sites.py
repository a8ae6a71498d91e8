"""What one domain adds to the configuration, whatever else there is: it is rendered once, and kept while it lasts."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, get_args

from lumos_agent.guard import Guard
from lumos_agent.render.backend import backends, has_names, page_files, route_entries
from lumos_agent.render.policies import policy_value
from lumos_agent.render.scripts import script_entries
from lumos_agent.schema import Domain

# The maps that consist of what domains add by themselves.
MAPS = ("hosts", "routes", "passthrough", "trusted", "policies", "limits", "scripts", "script_parts")

Entry = tuple[str, str, str]
Use = Literal[
    "wildcards", "names", "cdns", "own_proxies", "limits", "rules", "client_certificates", "scripts", "cache",
    "passthrough", "guards",
]  # fmt: skip


class Site(NamedTuple):
    """Its backends, its (map, key, value), its pages by path, and what the common part has to provide for it."""

    text: str
    entries: tuple[Entry, ...]
    pages: dict[str, bytes]
    uses: frozenset[Use]


class Sites(NamedTuple):
    """What some domains add together; `using` has those that use something, so that nobody goes through all."""

    domains: tuple[Domain, ...]
    text: str
    maps: dict[str, dict[str, str]]
    pages: dict[str, bytes]
    using: dict[Use, list[Domain]]


def together(domains: tuple[Domain, ...], sites: Iterable[Site]) -> Sites:
    """Put the sites of these domains together."""
    maps: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    pages: dict[str, bytes] = {}
    using: dict[Use, list[Domain]] = {use: [] for use in get_args(Use)}
    texts = []
    for domain, one in zip(domains, sites, strict=True):
        texts.append(one.text)
        pages |= one.pages
        for name, key, value in one.entries:
            maps[name][key] = value
        for use in one.uses:
            using[use].append(domain)
    return Sites(domains, "".join(texts), maps, pages, using)


def site(domain: Domain) -> Site:
    """Render a domain."""
    return Site(backends(domain), tuple(_entries(domain)), page_files(domain), frozenset(_uses(domain)))


def _entries(domain: Domain) -> Iterator[Entry]:
    traffic = domain.traffic
    yield "hosts", domain.hostname, domain.id
    for path, backend in route_entries(domain).items():
        yield "routes", path, backend
    if traffic.passthrough:
        yield "passthrough", domain.id, "tls"
    for name in traffic.trusted_cdns:
        yield "trusted", f"{domain.id}|{name}", "cdn"
    if domain.policy.mode != "off":
        yield "policies", domain.id, policy_value(domain.policy)
    if traffic.body_bytes_max:
        yield "limits", domain.id, str(traffic.body_bytes_max)
    if domain.script.mode != "off":
        yield from script_entries(domain)


def _uses(domain: Domain) -> Iterator[Use]:
    traffic = domain.traffic
    uses: tuple[tuple[Use, object], ...] = (
        ("wildcards", domain.hostname.startswith("*")),
        ("names", has_names(domain)),
        ("cdns", traffic.trusted_cdns),
        ("own_proxies", traffic.trusted_proxies),
        ("limits", traffic.body_bytes_max),
        ("rules", domain.policy.custom),
        ("client_certificates", traffic.client_certificates),
        ("scripts", domain.script.mode == "on"),
        ("cache", traffic.cache),
        ("passthrough", traffic.passthrough),
        ("guards", domain.guard != Guard()),
    )
    return (use for use, is_used in uses if is_used)
