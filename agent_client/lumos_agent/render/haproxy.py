"""Snapshot -> everything that HAProxy reads. Pure: equal snapshot and options give equal bytes."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, get_args

import jinja2
from msgspec import Struct, structs

from lumos_agent import conditions
from lumos_agent.cdns import networks_of
from lumos_agent.render.entries import Entries
from lumos_agent.render.guards import SLOTS, guard_entries
from lumos_agent.render.networks import PROXY, Change, NetworkTable
from lumos_agent.render.ordinary import ORDINARY
from lumos_agent.render.pages import CERTIFICATE, ERROR_PAGES, MAINTENANCE
from lumos_agent.render.places import PlaceTable
from lumos_agent.render.policies import rules_value
from lumos_agent.render.precheck import SUSPICIOUS
from lumos_agent.render.sites import Site, Sites, site, together
from lumos_agent.render.wireguard import with_addresses
from lumos_agent.schema import Domain, Listing, Snapshot, is_network
from lumos_agent.timings import SAMPLED

ANSWERS_LOGGED_PER_SECOND = 2000
# How much of a body is judged; the buffer also holds the request's head.
BODY_BYTES = 128 * 1024
BUFFER_BYTES = BODY_BYTES + 32 * 1024
Quic = Literal["off", "limited", "full"]


class Options(Struct, frozen=True, kw_only=True):
    """What depends on the machine and not on the snapshot.

    `countries` and `systems` are maps from networks to "country:DE" and "AS64500"; without them such lists have no
    effect.
    """

    http: tuple[str, ...]
    https: tuple[str, ...]
    run_dir: str
    certificates_list: str
    challenges_map: str
    alive_map: str
    engine: str
    server_state: str
    proxy_protocol_from: tuple[str, ...] = ()
    hard_stop_seconds: int = 60
    quic: Quic = "off"
    countries: str = ""
    systems: str = ""


class Artefact(Struct, frozen=True):
    """The files of one generation: `cfg`, maps by name, and others by relative path."""

    cfg: str
    maps: dict[str, Mapping[str, str]]
    files: dict[str, bytes]


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("lumos_agent.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration text; values come from constrained types
    )


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    return _environment()


def lua_modules(folder: Traversable, prefix: str = "") -> dict[str, str]:
    """Return {module name: source} of a folder of Lua files."""
    modules: dict[str, str] = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir():
            modules |= lua_modules(entry, f"{prefix}{entry.name}.")
        elif entry.name.endswith(".lua"):
            modules[prefix + entry.name.removesuffix(".lua")] = entry.read_text(encoding="utf-8")
    return modules


Entry = Literal["main", "trial", "dryrun", "catalogue", "script_trial"]


def lua_bundle(entry: Entry = "main") -> str:
    """Return the WAF engine as one file that ends in its binding to HAProxy, to a pipe, or in a list of its rules.

    HAProxy loads it for each thread, for all but the first after it has left the configuration's folder: so it needs an
    absolute path, and no search path for modules.
    """
    modules = lua_modules(resources.files("lumos_agent.render") / "lua")
    entries = {name: modules.pop(name) for name in get_args(Entry)}
    preloaded = (f'package.preload["{name}"] = function()\n{text}end\n' for name, text in modules.items())
    return "".join(preloaded) + entries[entry]


@lru_cache(maxsize=1)
def _fixed_files() -> dict[str, bytes]:
    """Return what no snapshot changes: error pages, and the expressions of the native check, one a line."""
    page = _templates().get_template("page.html.j2")
    check = resources.files("lumos_agent.render") / "templates" / "check.html"
    files = {"errors/check.html": check.read_bytes()}
    for name, status, (title, text) in (("maintenance", 503, MAINTENANCE), ("certificate", 403, CERTIFICATE)):
        files[f"errors/{name}.html"] = page.render(status=status, title=title, text=text).encode()
    for status, (title, text) in ERROR_PAGES.items():
        files[f"errors/{status}.html"] = page.render(status=status, title=title, text=text).encode()
    for place, expressions in SUSPICIOUS.items():
        files[f"suspicious/{place}.lst"] = "\n".join([*expressions, ""]).encode()
    for place, expression in ORDINARY.items():
        files[f"ordinary/{place}.lst"] = f"{expression}\n".encode()
    return files


class Identity(Struct, frozen=True, kw_only=True):
    """Which configuration this is; it only reaches the map that the probe reads."""

    epoch: str = ""
    revision: int = 0
    digest: str = ""


def _port(listen: str) -> int:
    return int(listen.rpartition(":")[2])


def _quic_binds(options: Options) -> list[str]:
    """Return the UDP listeners beside the TLS ones (configuration manual, 11.1)."""
    if options.quic == "off":
        return []
    return [f"quic6@{text} v6only" if text.startswith("[") else f"quic4@{text}" for text in options.https]


class Renderer:
    """Renders one snapshot after the other; what was in the one before costs next to nothing."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._attacked: frozenset[str] = frozenset()
        self._known: dict[str, tuple[Domain, Site]] = {}
        self._sites: Sites | None = None
        self._plain: tuple[Mapping[str, str] | None, frozenset[str], dict[str, str]] = None, frozenset(), {}
        self._has_passthrough = False
        self._networks = NetworkTable()
        self._places = PlaceTable()
        self._listed: dict[tuple[str, int], dict[str, str]] = {}
        self._sources: dict[tuple[str, int], Listing | tuple[str, ...]] = {}

    def use_places(self, countries: str, systems: str) -> None:
        """Take other maps of countries and autonomous systems from now on."""
        self._options = structs.replace(self._options, countries=countries, systems=systems)

    def use_attacked(self, attacked: frozenset[str]) -> None:
        """Check every visitor of these domains from now on, where their settings say so."""
        self._attacked = attacked

    def render(self, snapshot: Snapshot, identity: Identity) -> Artefact:
        """Return the whole configuration of a shield, the same whatever was rendered before but for one line.

        Right after the last domain that was passed through, the socket by which the worker before reaches the frontend
        with the certificates is still there: that worker has connections to hand over.
        """
        sites = self._sites_of(with_addresses(snapshot.domains, snapshot.tunnels))
        self._update_lists(snapshot.lists, sites.using["own_proxies"])
        networks, places = self._networks.maps(), self._places.maps()
        had_passthrough, self._has_passthrough = self._has_passthrough, bool(sites.using["passthrough"])
        context = self._context(sites) | {
            "depth": networks.depth,
            "had_passthrough": had_passthrough,
            "countries": self._options.countries if places.lists_countries else "",
            "systems": self._options.systems if places.lists_systems else "",
            "has_agents": bool(places.agents),
            "shield": snapshot.server_id[:8],
        }
        head = _templates().get_template("haproxy.cfg.j2").render(context)
        guarded, under_attack = sites.using["guards"], snapshot.under_attack
        maps: dict[str, Mapping[str, str]] = {
            **sites.maps,
            "cdns": _cdns(sites.using["cdns"], snapshot),
            "guards": guard_entries(guarded, under_attack=under_attack, attacked=self._attacked),
            "rules": self._rules(sites.using["rules"]),
            "nets": networks.nets,
            "parents": networks.parents,
            "verdicts": networks.verdicts.also(places.verdicts),
            "agents": places.agents,
            "meta": {"digest": identity.digest, "epoch": identity.epoch, "revision": str(identity.revision)},
        }
        maps["plain"] = self._plain_of(maps)
        return Artefact(cfg=head + sites.text, maps=maps, files=_fixed_files() | sites.pages)

    def _sites_of(self, domains: tuple[Domain, ...]) -> Sites:
        """Return what the domains add; one that is the object that it was is not rendered again."""
        if self._sites is None or domains != self._sites.domains:
            known, self._known = self._known, {}
            for domain in domains:
                before = known.get(domain.id)
                self._known[domain.id] = before if before and before[0] is domain else (domain, site(domain))
            self._sites = together(domains, [one for _, one in self._known.values()])
        return self._sites

    def _plain_of(self, maps: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Return the domains with a policy and nothing else that a request must be asked for."""
        special = frozenset(domain_id for name in ("guards", "rules", "scripts", "agents") for domain_id in maps[name])
        if self._plain[0] is not maps["policies"] or self._plain[1] != special:
            plain = {domain_id: "1" for domain_id in maps["policies"] if domain_id not in special}
            self._plain = maps["policies"], special, plain
        return self._plain[2]

    def _places_read(self, domains: Iterable[Domain]) -> dict[str, str]:
        """Return {variable: map} for what custom rules read of the shield's databases."""
        read = conditions.places_read(rule.expression for domain in domains for rule in domain.policy.custom)
        maps = {"country": self._options.countries, "asn": self._options.systems}
        return {field: path for field, path in maps.items() if path and field in read}

    def _rules(self, domains: Iterable[Domain]) -> dict[str, str]:
        maps = {"country": self._options.countries, "asn": self._options.systems}
        unknown = frozenset(field for field, path in maps.items() if not path)
        values = {d.id: rules_value(d.policy.custom, unknown) for d in domains if d.policy.custom}
        return {domain_id: value for domain_id, value in values.items() if value}

    def _context(self, sites: Sites) -> dict[str, Any]:
        options, using = self._options, sites.using
        return {
            "options": options,
            "quic_binds": _quic_binds(options),
            "http3_ports": [] if options.quic == "off" else sorted({_port(listen) for listen in options.https}),
            "body_bytes": BODY_BYTES,
            "buffer_bytes": BUFFER_BYTES,
            "slots": SLOTS,
            "answers_logged_per_second": ANSWERS_LOGGED_PER_SECOND,
            "sampled": SAMPLED,
            "statuses": sorted(ERROR_PAGES),
            "scopes": (("own", ",txn.domain"), ("all", "*")),
            **{f"has_{use}": bool(domains) for use, domains in using.items()},
            "has_proxies": bool(using["own_proxies"] or using["cdns"]),
            "has_routes": bool(sites.maps["routes"]),
            "all_countries": options.countries,
            "rules_read": self._places_read(using["rules"]),
            "cache_purges": sum(domain.traffic.cache_purges for domain in using["cache"]),
        }

    def _update_lists(self, lists: Iterable[Listing], with_proxies: Iterable[Domain]) -> None:
        sources: dict[tuple[str, int], Listing | tuple[str, ...]] = {(p.scope, p.bucket): p for p in lists}
        for domain in with_proxies:
            sources[domain.id + PROXY, 0] = domain.traffic.trusted_proxies
        changes: list[Change] = []
        for key in [key for key in self._sources if key not in sources]:
            changes += _listed_changes(key[0], self._listed.pop(key), {})
        for key, source in sources.items():
            if self._sources.get(key) is not source:
                entries = _entries(source)
                changes += _listed_changes(key[0], self._listed.get(key, {}), entries)
                self._listed[key] = entries
        self._sources = sources
        self._networks.update([change for change in changes if is_network(change[1])])
        self._places.update([change for change in changes if not is_network(change[1])])


def _cdns(domains: Iterable[Domain], snapshot: Snapshot) -> dict[str, str]:
    """Return {network: the CDN whose it is} of those that a domain trusts."""
    trusted = networks_of((name for domain in domains for name in domain.traffic.trusted_cdns), snapshot.cdns)
    return {network: name for name, found in trusted.items() for network in found}


def _entries(source: Listing | tuple[str, ...]) -> dict[str, str]:
    if isinstance(source, Listing):
        return dict.fromkeys(source.deny, "deny") | dict.fromkeys(source.allow, "allow")
    return dict.fromkeys(source, "proxy")


def _listed_changes(scope: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    gone: list[Change] = [(scope, network, None) for network in before if network not in after]
    return gone + [(scope, network, verdict) for network, verdict in after.items() if before.get(network) != verdict]


def render(snapshot: Snapshot, options: Options, identity: Identity) -> Artefact:
    """Return the whole configuration of a shield."""
    return Renderer(options).render(snapshot, identity)


def map_text(entries: Mapping[str, str]) -> bytes:
    """Return a map file's content; equal entries give equal bytes."""
    if isinstance(entries, Entries):
        return entries.text()
    return "".join([f"{key} {value}\n" for key, value in sorted(entries.items())]).encode()


def map_entries(text: bytes) -> dict[str, str]:
    """Return the entries of a file that `map_text` wrote."""
    return dict(line.split(" ", 1) for line in text.decode().splitlines())


def identity_of(artefact: Artefact) -> Identity:
    """Return which configuration an artefact is."""
    meta = artefact.maps["meta"]
    return Identity(epoch=meta["epoch"], revision=int(meta["revision"]), digest=meta["digest"])
