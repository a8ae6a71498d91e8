"""The desired configuration of one server, defined once for the control plane and the agent.

A snapshot holds no free text: every string has a grammar (grammar.py).
"""

import hashlib
import ipaddress
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta, Struct

from lumos_agent.grammar import (
    DirectoryUrl,
    EmailOrNone,
    GroupName,
    Id,
    Network,
    ParameterName,
    PathPrefix,
    RuleName,
    Served,
)
from lumos_agent.traffic import Target, Traffic

SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024
DOMAINS_MAX = 20_000
NETWORKS_MAX = 100_000
GROUPS_MAX = 32
EXCLUSIONS_MAX = 50


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


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The WAF settings of one domain. Networks are canonical (`ipaddress`), sorted and unique.

    `groups` holds the rule groups whose mode differs from the policy's.
    """

    mode: Literal["off", "detect", "block"] = "block"
    level: Literal["low", "medium", "high"] = "medium"
    groups: Annotated[dict[GroupName, Literal["off", "detect", "block"]], Meta(max_length=GROUPS_MAX)] = {}
    exclusions: Annotated[tuple[Exclusion, ...], Meta(max_length=EXCLUSIONS_MAX)] = ()
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()


class Domain(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One protected hostname: A-labels, lower case, no trailing dot; ``*.example.com`` and ``*`` stand for others."""

    id: Id
    hostname: Served
    origins: Annotated[tuple[Origin, ...], Meta(max_length=64)]
    policy: Policy = Policy()
    traffic: Traffic = Traffic()
    certificate: Literal["off", "acme"] = "off"


class Acme(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The CA that certificates come from (RFC 8555), and whom it may write to."""

    directory_url: DirectoryUrl
    email: EmailOrNone = ""


class Snapshot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that one server runs. Domains are sorted by hostname."""

    server_id: Id
    domains: Annotated[tuple[Domain, ...], Meta(max_length=DOMAINS_MAX)]
    acme: Acme | None = None

    def __post_init__(self) -> None:
        hostnames = [domain.hostname for domain in self.domains]
        if len(set(hostnames)) != len(hostnames):
            raise SchemaError("two domains of one server have the same hostname")
        networks = sum(len(d.policy.allow) + len(d.policy.deny) for d in self.domains)
        if networks > NETWORKS_MAX:
            raise SchemaError(f"{networks} list entries on one server; the limit is {NETWORKS_MAX}")

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
        except msgspec.ValidationError as error:
            raise SchemaError(str(error)) from error


def digest_of(encoded: bytes) -> str:
    """Return the digest of `Snapshot.encode()`: SHA-256, 64 lower-case hex digits."""
    return hashlib.sha256(encoded).hexdigest()


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
