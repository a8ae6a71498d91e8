"""The desired configuration of one server, defined once for the control plane and the agent.

A snapshot holds no free text: every string has a grammar (grammar.py).
"""

import hashlib
import ipaddress
import zlib
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lumos_agent import conditions
from lumos_agent.cdns import Published
from lumos_agent.failover import Rule
from lumos_agent.flood import FloodLimits
from lumos_agent.forward import FORWARDS_MAX, Forward
from lumos_agent.grammar import (
    AccountId,
    Chain,
    DirectoryUrl,
    EmailOrNone,
    Entry,
    Expression,
    GroupName,
    Id,
    ParameterName,
    PathPrefix,
    RuleName,
    Scope,
    ScriptSource,
    Sealed,
    SealedOrNone,
    Served,
)
from lumos_agent.guard import Guard, Window
from lumos_agent.script import ScriptError, compiled
from lumos_agent.traffic import Target, Traffic
from lumos_agent.tunnel import Tunnels
from lumos_agent.zone import ZONES_MAX, Zone

SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024
DOMAINS_MAX = 20_000
NETWORKS_MAX = 100_000
BUCKETS = 64
ACCOUNT_WIDE = "*"
GROUPS_MAX = 32
EXCLUSIONS_MAX = 50
CUSTOM_RULES_MAX = 50


class SchemaError(ValueError):
    """A snapshot that breaks a rule which its types alone cannot express."""


class Origin(Target, frozen=True, kw_only=True, omit_defaults=False):
    """Where clean traffic goes. `enabled` is false while people keep it out of service."""

    id: Id
    enabled: bool = True


class Exclusion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Findings that do not count: of a rule or group, below a path, in a parameter; what is empty is any.

    `path` is compared with the decoded path after dot segments are resolved.
    """

    rule: RuleName = ""
    path: PathPrefix = ""
    parameter: ParameterName = ""

    def __post_init__(self) -> None:
        if not (self.rule or self.path or self.parameter):
            raise SchemaError("an exclusion names a rule, a path or a parameter")


class CustomRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What happens to requests for which a condition holds (conditions.py), until `expires` (Unix time, 0: always).

    `log` writes an event and goes on with the next rule; every other action ends the list. `allow` skips the later
    checks, `challenge` asks whoever has no pass, `limit` answers 429 to a client that sent more than `requests` such
    requests within `window_seconds`.
    """

    id: Id
    action: Literal["allow", "block", "challenge", "limit", "log"]
    expression: Expression
    expires: Annotated[int, Meta(ge=0, le=2**40)] = 0
    requests: Annotated[int, Meta(ge=0, le=100_000)] = 0
    window_seconds: Window = 60

    def __post_init__(self) -> None:
        if (self.action == "limit") != (self.requests > 0):
            raise SchemaError("`requests` says how many requests a rule with the action limit lets pass, and no other")
        try:
            conditions.parsed(self.expression)
        except conditions.ConditionError as error:
            raise SchemaError(str(error)) from error


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The WAF settings of one domain. `groups` holds the rule groups whose mode differs from the policy's."""

    mode: Literal["off", "detect", "block"] = "block"
    level: Literal["low", "medium", "high"] = "medium"
    groups: Annotated[dict[GroupName, Literal["off", "detect", "block"]], Meta(max_length=GROUPS_MAX)] = {}
    exclusions: Annotated[tuple[Exclusion, ...], Meta(max_length=EXCLUSIONS_MAX)] = ()
    custom: Annotated[tuple[CustomRule, ...], Meta(max_length=CUSTOM_RULES_MAX)] = ()


class Script(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The customer's own Lua, as it was written. `fails` is what a request gets when it fails: `open` lets it pass."""

    mode: Literal["off", "on"] = "off"
    fails: Literal["open", "closed"] = "open"
    source: ScriptSource = ""

    def __post_init__(self) -> None:
        try:
            compiled(self.source)
        except ScriptError as error:
            raise SchemaError(str(error)) from error


class Listing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the lists of one domain (`scope`: its id) or of all domains of the server (``*``).

    Which part an entry is in follows from `bucket_of`, so that a change of one entry changes one small listing. At
    least one of the lists is not empty; entries are canonical (networks as `ipaddress` writes them), sorted and unique.
    """

    scope: Scope
    bucket: Annotated[int, Meta(ge=0, lt=BUCKETS)]
    allow: tuple[Entry, ...] = ()
    deny: tuple[Entry, ...] = ()


class Domain(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One protected hostname: A-labels, lower case, no trailing dot; ``*.example.com`` and ``*`` stand for others."""

    id: Id
    hostname: Served
    origins: Annotated[tuple[Origin, ...], Meta(max_length=64)]
    policy: Policy = Policy()
    guard: Guard = Guard()
    script: Script = Script()
    traffic: Traffic = Traffic()
    certificate: Literal["off", "acme", "uploaded"] = "off"


class Upload(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A domain's own certificate, with its private key sealed to this server (sealing.py)."""

    domain_id: Id
    chain: Chain
    sealed_key: Sealed


class ExternalAccount(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account at the CA's own site that orders are billed to (RFC 8555, 7.3.4).

    `sealed_key`, its MAC key (base64url), is sealed to this server; empty if nobody has done so yet.
    """

    key_id: AccountId
    sealed_key: SealedOrNone = ""


class Acme(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The CA that certificates come from (RFC 8555), and whom it may write to."""

    directory_url: DirectoryUrl
    email: EmailOrNone = ""
    external_account: ExternalAccount | None = None


class Frame(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a snapshot holds beside the domains and lists, which travel in pieces (parts.py).

    `uploads`, sorted by domain, are the certificates of domains that bring their own. `under_attack` is the account's
    switch: every visitor of every domain must pass the bot check. `zones`, sorted by name, are those that it serves;
    `failover` says how their names fail over. `forwards` are sorted by protocol and port. `cdns`, sorted by name, are
    those that its domains trust, as far as the control plane knows their networks; unset while it knows none, so that
    older agents understand what they need.
    """

    server_id: Id
    uploads: tuple[Upload, ...] = ()
    acme: Acme | None = None
    under_attack: bool = False
    tunnels: Tunnels | None = None
    zones: Annotated[tuple[Zone, ...], Meta(max_length=ZONES_MAX)] = ()
    failover: Annotated[tuple[Rule, ...], Meta(max_length=DOMAINS_MAX)] = ()
    forwards: Annotated[tuple[Forward, ...], Meta(max_length=FORWARDS_MAX)] = ()
    flood: FloodLimits = FloodLimits()
    cdns: Annotated[tuple[Published, ...], Meta(max_length=8)] | UnsetType = UNSET


class Snapshot(Frame, frozen=True, kw_only=True):
    """Everything that one server runs. Domains are sorted by hostname, lists by scope and bucket."""

    domains: Annotated[tuple[Domain, ...], Meta(max_length=DOMAINS_MAX)]
    lists: tuple[Listing, ...] = ()

    def __post_init__(self) -> None:
        hostnames = [domain.hostname for domain in self.domains]
        if len(set(hostnames)) != len(hostnames):
            raise SchemaError("two domains of one server have the same hostname")
        listened = [(forward.protocol, forward.port) for forward in self.forwards]
        if len(set(listened)) != len(listened):
            raise SchemaError("two forwards of one server listen on the same port")
        networks = sum(len(part.allow) + len(part.deny) for part in self.lists)
        if networks > NETWORKS_MAX:
            raise SchemaError(f"{networks} list entries on one server; the limit is {NETWORKS_MAX}")

    def networks(self) -> dict[str, tuple[list[str], list[str]]]:
        """Return {scope: (allowed, denied)}, each sorted, for the scopes that list anything."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for part in self.lists:
            allow, deny = found.setdefault(part.scope, ([], []))
            allow += part.allow
            deny += part.deny
        return {scope: (sorted(allow), sorted(deny)) for scope, (allow, deny) in found.items()}

    def encode(self) -> bytes:
        """Return the canonical JSON bytes; equal snapshots give equal bytes."""
        data = msgspec.json.encode(self, order="deterministic")
        if len(data) > SNAPSHOT_BYTES_MAX:
            raise SchemaError(f"snapshot of {len(data)} bytes; the limit is {SNAPSHOT_BYTES_MAX}")
        return data

    @classmethod
    def decode(cls, data: bytes | msgspec.Raw) -> Self:
        """Parse and validate.

        Raises:
            SchemaError: too large, or breaks a rule of this module.
        """
        if len(memoryview(data)) > SNAPSHOT_BYTES_MAX:
            raise SchemaError(f"snapshot larger than {SNAPSHOT_BYTES_MAX} bytes")
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise SchemaError(str(error)) from error


EMPTY_DIGEST = "empty"  # of what a shield runs before its first configuration


def empty_snapshot() -> Snapshot:
    """Return what a shield runs that has been told nothing yet."""
    return Snapshot(server_id="00000000-0000-0000-0000-000000000000", domains=())


def digest_of(encoded: bytes) -> str:
    """Return the digest of `Snapshot.encode()`: SHA-256, 64 lower-case hex digits."""
    return hashlib.sha256(encoded).hexdigest()


def is_network(entry: str) -> bool:
    """Whether an entry of a list is a network, and no country, autonomous system or user agent."""
    return not entry.startswith(("AS", "country:", "agent:"))


def bucket_of(network: str) -> int:
    """Return the listing that a canonical network belongs to."""
    return zlib.crc32(network.encode()) % BUCKETS


def listings(scope: str, allow: Iterable[str], deny: Iterable[str]) -> list[Listing]:
    """Return the listings of one scope's canonical networks, by bucket."""
    buckets: dict[int, tuple[list[str], list[str]]] = {}
    for place, networks in enumerate((allow, deny)):
        for network in sorted(networks):
            buckets.setdefault(bucket_of(network), ([], []))[place].append(network)
    return [
        Listing(scope=scope, bucket=bucket, allow=tuple(allowed), deny=tuple(denied))
        for bucket, (allowed, denied) in sorted(buckets.items())
    ]


def canonical_network(text: str) -> str:
    """Return `text` (address or CIDR, host bits allowed) in canonical CIDR form; IPv4-mapped IPv6 becomes IPv4.

    Raises:
        ValueError: not an IP address or network.
    """
    if "%" in text:
        raise ValueError("an address with a zone is valid on one machine only")
    interface = ipaddress.ip_interface(text)
    mapped = interface.ip.ipv4_mapped if isinstance(interface.ip, ipaddress.IPv6Address) else None
    if mapped is not None and interface.network.prefixlen >= 96:
        return str(ipaddress.ip_network(f"{mapped}/{interface.network.prefixlen - 96}", strict=False))
    return str(interface.network)
