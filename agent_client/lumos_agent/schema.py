"""The desired configuration of one server, defined once for the control plane and the agent.

A snapshot holds no free text: every string has a grammar that excludes control characters, quotes and white space, so
no value can end a line or a word in a daemon's configuration. Patterns end in ``\\Z`` because ``$`` also matches before
a final newline.
"""

import hashlib
import ipaddress
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta, Struct

SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024
DOMAINS_MAX = 20_000
NETWORKS_MAX = 100_000

_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
HOSTNAME_PATTERN = rf"\A(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}\Z"

Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Hostname = Annotated[str, Meta(pattern=HOSTNAME_PATTERN, max_length=253)]
Address = Annotated[str, Meta(pattern=r"\A[0-9a-z.:-]{1,253}\Z")]
Network = Annotated[str, Meta(pattern=r"\A[0-9a-f.:]{2,39}/[0-9]{1,3}\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Weight = Annotated[int, Meta(ge=0, le=256)]


class SchemaError(ValueError):
    """A snapshot that breaks a rule which its types alone cannot express."""


class Origin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where clean traffic goes. `address` is an IP address in canonical form or a hostname (RFC 1123)."""

    id: Id
    address: Address
    port: Port
    weight: Weight = 100
    backup: bool = False
    tls: Literal["off", "on", "verify"] = "off"


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The WAF settings of one domain. Networks are canonical (`ipaddress`), sorted and unique."""

    mode: Literal["off", "detect", "block"] = "block"
    level: Literal["low", "medium", "high"] = "medium"
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()


class Domain(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One protected hostname (A-labels, lower case, no trailing dot)."""

    id: Id
    hostname: Hostname
    origins: Annotated[tuple[Origin, ...], Meta(max_length=64)]
    policy: Policy = Policy()


class Snapshot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that one server runs. Domains are sorted by hostname."""

    server_id: Id
    domains: Annotated[tuple[Domain, ...], Meta(max_length=DOMAINS_MAX)]

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
