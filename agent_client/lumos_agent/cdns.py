"""The networks that CDNs publish as theirs: data of this version, with its sources and its date (cdns.json).

The control plane looks for newer ones and sends them with the snapshot; the newer of both holds.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, UnsetType

from lumos_agent.grammar import Network

Name = Literal["cloudflare", "fastly"]
NETWORKS_MAX = 1_000


class Cdn(Struct, frozen=True, forbid_unknown_fields=True):
    """A CDN: what people call it, where it publishes its networks, and when they were last taken over."""

    title: str
    sources: tuple[str, ...]
    as_of: str
    networks: tuple[Network, ...]


@lru_cache(maxsize=1)
def cdns() -> dict[Name, Cdn]:
    """Return the CDNs by name."""
    data = (resources.files("lumos_agent") / "cdns.json").read_bytes()
    return msgspec.json.decode(data, type=dict[Name, Cdn])


class Published(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a CDN publishes since a day (ISO 8601): canonical networks, sorted."""

    name: Name
    as_of: Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    networks: Annotated[tuple[Network, ...], Meta(min_length=1, max_length=NETWORKS_MAX)]


def built_in(name: Name) -> Published:
    """Return what came with this version."""
    cdn = cdns()[name]
    return Published(name=name, as_of=cdn.as_of, networks=cdn.networks)


def newest(published: Iterable[Published]) -> Mapping[Name, Published]:
    """Return what holds for every CDN: what was published, unless what came with this version is newer."""
    found = {name: built_in(name) for name in cdns()}
    return found | {one.name: one for one in published if one.as_of >= found[one.name].as_of}


def networks_of(names: Iterable[Name], published: Iterable[Published] | UnsetType) -> dict[Name, tuple[str, ...]]:
    """Return {CDN: networks} of some CDNs, sorted by name."""
    known = newest(published or ())
    return {name: known[name].networks for name in sorted(set(names))}
