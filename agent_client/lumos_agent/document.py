"""The configuration of an account as one JSON document, for export and import.

A part of a domain or server that a document does not name stays as it is. A part that it names is meant whole: what is
left out there has its default.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lumos_agent.failover import GAP_SECONDS, HOLD_DOWN_SECONDS, Seconds
from lumos_agent.forward import FORWARDS_MAX, IdleSeconds, Limit
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
from lumos_agent.tunnel import PEERS_MAX
from lumos_agent.zone import RECORDS_MAX, WEIGHT_MAX, ZONES_MAX

VERSION: Literal[1] = 1
DOCUMENT_BYTES_MAX = 7 * 1024 * 1024  # with its form around it, a request of the dashboard may have 8 MiB
SERVERS_MAX = 1_000
CHANNELS_MAX = 20

_Name = Annotated[Text, Meta(min_length=1, max_length=100)]
_Host = Annotated[str, Meta(max_length=300)]


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: unknown keys are refused."""


class ConfigForward(Part, frozen=True, kw_only=True):
    """A port of a shield that is passed on (forward.py)."""

    name: _Name
    protocol: Literal["tcp", "udp"] = "tcp"
    port: Port
    target: _Host
    target_port: Port
    idle_seconds: IdleSeconds = 300
    connections: Limit = 0
    packets_per_second: Limit = 0
    proxy_protocol: Literal["off", "v1", "v2"] = "off"
    enabled: bool = True


class ConfigFlood(Part, frozen=True, kw_only=True):
    """Limits of the kernel for one client address (flood.py); 0 is no limit."""

    connections: Limit = 0
    new_per_second: Limit = 0
    bans: bool = False


class ConfigServer(Part, frozen=True, kw_only=True):
    """A shield, by its name; its token is no part of a document."""

    name: _Name
    region: Annotated[Text, Meta(max_length=60)] | UnsetType = UNSET
    public_ipv4: str | UnsetType | None = UNSET
    public_ipv6: str | UnsetType | None = UNSET
    flood: ConfigFlood | UnsetType = UNSET
    forwards: Annotated[tuple[ConfigForward, ...], Meta(max_length=FORWARDS_MAX)] | UnsetType = UNSET


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


class ConfigSubscription(Part, frozen=True, kw_only=True):
    """A list that somebody else publishes; its entries are no part of a document."""

    kind: Literal["allow", "deny"] = "deny"
    url: Annotated[Text, Meta(min_length=1, max_length=500)]
    interval_hours: Annotated[int, Meta(ge=1, le=720)] = 24


_Subscriptions = Annotated[tuple[ConfigSubscription, ...], Meta(max_length=50)]


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
    subscriptions: _Subscriptions | UnsetType = UNSET
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
    dnssec: bool | UnsetType = UNSET
    records: Annotated[tuple[ConfigRecord, ...], Meta(max_length=RECORDS_MAX)] | UnsetType = UNSET


class ConfigAuthority(Part, frozen=True, kw_only=True):
    """The CA of an account's own choice. The key of an external account is no part of a document."""

    directory_url: Annotated[Text, Meta(min_length=1, max_length=520)]
    email: Annotated[Text, Meta(max_length=320)] = ""
    external_key_id: Annotated[Text, Meta(max_length=256)] = ""


class ConfigTunnelNetwork(Part, frozen=True, kw_only=True):
    """The private addresses of all tunnels, and the largest packet in bytes."""

    network: Annotated[str, Meta(max_length=18)]
    mtu: int


class ConfigOwnChannel(Part, frozen=True, kw_only=True):
    """The channel to owners and admins. `choices` names the kinds that are not told, or told again."""

    choices: dict[str, bool] = {}
    digest: Literal["off", "hourly", "daily"] = "hourly"
    enabled: bool = True


class ConfigChannel(Part, frozen=True, kw_only=True):
    """Where notifications go. Secrets are no part of a document: a webhook that an import makes has a new one, and the
    `target` of a new chat is its whole address, of which an export shows the service alone.
    """

    name: _Name
    kind: Literal["email", "webhook", "chat"] | UnsetType = UNSET
    target: Annotated[Text, Meta(max_length=500)] | UnsetType = UNSET
    choices: dict[str, bool] | UnsetType = UNSET
    digest: Literal["off", "hourly", "daily"] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class ConfigTunnel(Part, frozen=True, kw_only=True):
    """An origin's machine that is connected to every shield; keys and tokens are no part of a document."""

    name: Annotated[Text, Meta(min_length=1, max_length=40)]


class ConfigAccount(Part, frozen=True, kw_only=True):
    """What holds for all domains and servers; `certificate_authority` null is the installation's."""

    under_attack: bool | UnsetType = UNSET
    lists: ConfigLists | UnsetType = UNSET
    subscriptions: _Subscriptions | UnsetType = UNSET
    certificate_authority: ConfigAuthority | UnsetType | None = UNSET
    tunnel_network: ConfigTunnelNetwork | UnsetType = UNSET
    own_channel: ConfigOwnChannel | UnsetType = UNSET


class ConfigDocument(Part, frozen=True, kw_only=True):
    """Domains by hostname, everything else by name. A document that has no `servers` says nothing about servers."""

    version: Literal[1]
    account: ConfigAccount | UnsetType = UNSET
    tunnels: Annotated[tuple[ConfigTunnel, ...], Meta(max_length=PEERS_MAX)] | UnsetType = UNSET
    servers: Annotated[tuple[ConfigServer, ...], Meta(max_length=SERVERS_MAX)] | UnsetType = UNSET
    domains: Annotated[tuple[ConfigDomain, ...], Meta(max_length=DOMAINS_MAX)] | UnsetType = UNSET
    zones: Annotated[tuple[ConfigZone, ...], Meta(max_length=ZONES_MAX)] | UnsetType = UNSET
    channels: Annotated[tuple[ConfigChannel, ...], Meta(max_length=CHANNELS_MAX)] | UnsetType = UNSET
