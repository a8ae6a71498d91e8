"""The networks that CDNs publish as theirs: data of this version, with its sources and its date (cdns.json)."""

from functools import lru_cache
from importlib import resources
from typing import Literal

import msgspec
from msgspec import Struct

from lumos_agent.grammar import Network

Name = Literal["cloudflare", "fastly"]


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
