"""An account's configuration as a document has it, without gaps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from lumos_agent.document import (
    VERSION,
    ConfigAccount,
    ConfigAuthority,
    ConfigChannel,
    ConfigDocument,
    ConfigDomain,
    ConfigFailover,
    ConfigFlood,
    ConfigForward,
    ConfigLists,
    ConfigOrigin,
    ConfigOwnChannel,
    ConfigPolicy,
    ConfigRecord,
    ConfigScript,
    ConfigServer,
    ConfigSubscription,
    ConfigTunnel,
    ConfigTunnelNetwork,
    ConfigZone,
)


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """A server as the document has it, without gaps."""

    name: str
    region: str = ""
    public_ipv4: str | None = None
    public_ipv6: str | None = None
    flood: ConfigFlood = field(default_factory=ConfigFlood)
    forwards: tuple[ConfigForward, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DomainState:
    """A domain as the document has it, without gaps."""

    hostname: str
    origins: tuple[ConfigOrigin, ...] = ()
    servers: tuple[str, ...] = ()
    traffic: dict[str, Any] = field(default_factory=dict)
    certificate: str = "acme"
    rollout: str = "all"
    policy: ConfigPolicy = field(default_factory=ConfigPolicy)
    guard: dict[str, Any] = field(default_factory=dict)
    script: ConfigScript = field(default_factory=ConfigScript)
    lists: ConfigLists = field(default_factory=ConfigLists)
    subscriptions: tuple[ConfigSubscription, ...] = ()
    failover: ConfigFailover | None = None


@dataclass(frozen=True, kw_only=True)
class ZoneState:
    """A zone as the document has it, without gaps."""

    name: str
    servers: tuple[str, ...] = ()
    dnssec: bool = False
    records: tuple[ConfigRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TunnelState:
    """A tunnel as the document has it."""

    name: str


@dataclass(frozen=True, kw_only=True)
class ChannelState:
    """A channel as the document has it, without gaps; one without a kind cannot be made."""

    name: str
    kind: str = ""
    target: str = ""
    choices: dict[str, bool] = field(default_factory=dict)
    digest: str = "off"
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class AccountSettings:
    """What holds for all domains and servers; `tunnel_network` is None before the first tunnel."""

    under_attack: bool = False
    lists: ConfigLists = field(default_factory=ConfigLists)
    subscriptions: tuple[ConfigSubscription, ...] = ()
    certificate_authority: ConfigAuthority | None = None
    tunnel_network: ConfigTunnelNetwork | None = None
    own_channel: ConfigOwnChannel = field(default_factory=ConfigOwnChannel)


@dataclass(frozen=True, kw_only=True)
class AccountState:
    """Domains by hostname, everything else by name, all sorted."""

    settings: AccountSettings = field(default_factory=AccountSettings)
    servers: Mapping[str, ServerState]
    domains: Mapping[str, DomainState]
    zones: Mapping[str, ZoneState] = field(default_factory=dict)
    tunnels: Mapping[str, TunnelState] = field(default_factory=dict)
    channels: Mapping[str, ChannelState] = field(default_factory=dict)

    def document(self) -> ConfigDocument:
        """Return the whole as a document."""
        servers = tuple(ConfigServer(**vars(server)) for server in self.servers.values())
        domains: Iterator[Any] = (vars(domain) for domain in self.domains.values())
        channels: Iterator[Any] = (vars(channel) for channel in self.channels.values())
        settings = {**vars(self.settings), "tunnel_network": self.settings.tunnel_network or UNSET}
        return ConfigDocument(
            version=VERSION,
            account=ConfigAccount(**settings),
            tunnels=tuple(ConfigTunnel(**vars(tunnel)) for tunnel in self.tunnels.values()),
            servers=servers,
            domains=tuple(ConfigDomain(**values) for values in domains),
            zones=tuple(ConfigZone(**vars(zone)) for zone in self.zones.values()),
            channels=tuple(ConfigChannel(**values) for values in channels),
        )
