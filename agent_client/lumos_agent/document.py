"""The configuration of an account as one JSON document, for export and import.

A part of a domain or server that a document does not name stays as it is. A part that it names is meant whole: what is
left out there has its default.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lumos_agent.failover import GAP_SECONDS, HOLD_DOWN_SECONDS, Seconds
from lumos_agent.grammar import (
    Expression,
    GroupName,
    ParameterName,
    PathPrefix,
    Port,
    RuleName,
    ScriptSource,
    Text,
    Weight,
)
from lumos_agent.guard import Window
from lumos_agent.schema import CUSTOM_RULES_MAX, DOMAINS_MAX, EXCLUSIONS_MAX, GROUPS_MAX
from lumos_agent.zone import RECORDS_MAX, WEIGHT_MAX, ZONES_MAX

VERSION: Literal[1] = 1
DOCUMENT_BYTES_MAX = 7 * 1024 * 1024  # with its form around it, a request of the dashboard may have 8 MiB
SERVERS_MAX = 1_000

_Name = Annotated[Text, Meta(min_length=1, max_length=100)]
_Host = Annotated[str, Meta(max_length=300)]


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: unknown keys are refused."""


class ConfigServer(Part, frozen=True, kw_only=True):
    """A shield, by its name; its token is no part of a document."""

    name: _Name
    region: Annotated[Text, Meta(max_length=60)] | UnsetType = UNSET
    public_ipv4: str | UnsetType | None = UNSET
    public_ipv6: str | UnsetType | None = UNSET


class ConfigOrigin(Part, frozen=True, kw_only=True):
    """Where clean traffic goes."""

    address: _Host
    port: Port
    weight: Weight = 100
    backup: bool = False
    enabled: bool = True
    tls: Literal["off", "on", "verify"] = "off"


class ConfigExclusion(Part, frozen=True, kw_only=True):
    """Findings that do not count, and why; what is empty is any."""

    rule: RuleName = ""
    path: PathPrefix = ""
    parameter: ParameterName = ""
    note: Annotated[Text, Meta(max_length=200)] = ""


class ConfigRule(Part, frozen=True, kw_only=True):
    """A custom rule (conditions.py); `expires` is Unix time, 0 for never. `requests` is for the action limit."""

    name: _Name
    expression: Expression
    action: Literal["allow", "block", "challenge", "limit", "log"]
    enabled: bool = True
    expires: Annotated[int, Meta(ge=0, le=2**40)] = 0
    requests: Annotated[int, Meta(ge=0, le=100_000)] = 0
    window_seconds: Window = 60


class ConfigPolicy(Part, frozen=True, kw_only=True):
    """The WAF settings of a domain. `groups` are the rule groups that have a mode of their own."""

    mode: Literal["off", "detect", "block"] = "block"
    level: Literal["low", "medium", "high"] = "medium"
    groups: Annotated[dict[GroupName, Literal["off", "detect", "block"]], Meta(max_length=GROUPS_MAX)] = {}
    custom: Annotated[tuple[ConfigRule, ...], Meta(max_length=CUSTOM_RULES_MAX)] = ()
    exclusions: Annotated[tuple[ConfigExclusion, ...], Meta(max_length=EXCLUSIONS_MAX)] = ()


class ConfigScript(Part, frozen=True, kw_only=True):
    """The customer's own Lua."""

    mode: Literal["off", "on"] = "off"
    fails: Literal["open", "closed"] = "open"
    source: ScriptSource = ""


class ConfigListEntry(Part, frozen=True, kw_only=True):
    """A network on a list, and why."""

    network: Annotated[str, Meta(max_length=64)]
    note: Annotated[Text, Meta(max_length=200)] = ""


class ConfigLists(Part, frozen=True, kw_only=True):
    """Allow wins over deny."""

    allow: tuple[ConfigListEntry, ...] = ()
    deny: tuple[ConfigListEntry, ...] = ()


class ConfigFailover(Part, frozen=True, kw_only=True):
    """How a domain fails over. `provider` names a DNS provider; the access to it is no part of a document.

    `weights`: {server's name: how often it is answered}, in the mode `weighted`.
    """

    mode: Literal["ordered", "all", "weighted"] = "ordered"
    weights: Annotated[dict[_Name, Annotated[int, Meta(ge=1, le=WEIGHT_MAX)]], Meta(max_length=SERVERS_MAX)] = {}
    hold_down_seconds: Seconds = HOLD_DOWN_SECONDS
    gap_seconds: Seconds = GAP_SECONDS
    provider: Annotated[Text, Meta(max_length=100)] = ""
    ttl: Annotated[int, Meta(ge=30, le=86_400)] = 60


class ConfigDomain(Part, frozen=True, kw_only=True):
    """A protected hostname; `servers` are names, the primary first.

    `traffic` and `guard` hold what differs from the defaults.
    """

    hostname: _Host
    origins: tuple[ConfigOrigin, ...] | UnsetType = UNSET
    servers: tuple[_Name, ...] | UnsetType = UNSET
    traffic: dict[str, Any] | UnsetType = UNSET
    certificate: Literal["off", "acme"] | UnsetType = UNSET
    rollout: Literal["all", "staged"] | UnsetType = UNSET
    policy: ConfigPolicy | UnsetType = UNSET
    guard: dict[str, Any] | UnsetType = UNSET
    script: ConfigScript | UnsetType = UNSET
    lists: ConfigLists | UnsetType = UNSET
    failover: ConfigFailover | UnsetType | None = UNSET


class ConfigRecord(Part, frozen=True, kw_only=True):
    """A record of a zone; `server`, a name, is for proxied names that are about one shield only."""

    name: _Host
    type: Annotated[str, Meta(max_length=10)]
    data: Annotated[str, Meta(max_length=20_000)]
    ttl: int = 300
    place: Annotated[str, Meta(max_length=40)] = ""
    weight: int = 0
    server: Annotated[Text, Meta(max_length=100)] = ""


class ConfigZone(Part, frozen=True, kw_only=True):
    """A zone that shields serve; `servers` are names, in the order of their numbers."""

    name: _Host
    servers: tuple[_Name, ...] | UnsetType = UNSET
    records: Annotated[tuple[ConfigRecord, ...], Meta(max_length=RECORDS_MAX)] | UnsetType = UNSET


class ConfigAccount(Part, frozen=True, kw_only=True):
    """What holds for all domains: the account's "under attack" switch and its lists."""

    under_attack: bool | UnsetType = UNSET
    lists: ConfigLists | UnsetType = UNSET


class ConfigDocument(Part, frozen=True, kw_only=True):
    """Servers and zones by name, domains by hostname. A document that has no `servers` says nothing about servers."""

    version: Literal[1]
    account: ConfigAccount | UnsetType = UNSET
    servers: Annotated[tuple[ConfigServer, ...], Meta(max_length=SERVERS_MAX)] | UnsetType = UNSET
    domains: Annotated[tuple[ConfigDomain, ...], Meta(max_length=DOMAINS_MAX)] | UnsetType = UNSET
    zones: Annotated[tuple[ConfigZone, ...], Meta(max_length=ZONES_MAX)] | UnsetType = UNSET
