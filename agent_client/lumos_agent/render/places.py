"""Lists of countries, autonomous systems and user agents as maps.

Countries and systems are verdicts like those of networks: "country:DE|scope" and "AS64500|scope" in the same map, and
"countries|scope" where the scope allows some countries, so that it denies all others. The agents of a scope are one
value of `agents`, which lua/agents.lua reads: "deny:part allow:part", percent-encoded.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from lumos_agent.render.networks import Change

ONLY = "countries"
_AGENT = "agent:"


class PlaceMaps(NamedTuple):
    """Keys and values for the maps, and whether any scope lists countries or autonomous systems."""

    verdicts: dict[str, str]
    agents: dict[str, str]
    lists_countries: bool
    lists_systems: bool


class PlaceTable:
    """The entries of all scopes that are no networks: there are few, so the maps are made anew."""

    def __init__(self) -> None:
        self._lists: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def update(self, changes: Sequence[Change]) -> None:
        """Take what scopes list now; an entry that a scope did not list cannot be listed no more."""
        for scope, entry, verdict in changes:
            if verdict is None:
                del self._lists[scope][entry]
            else:
                self._lists[scope][entry] = verdict

    def maps(self) -> PlaceMaps:
        """Return the maps."""
        verdicts: dict[str, str] = {}
        agents: dict[str, str] = {}
        for scope, entries in self._lists.items():
            own = {entry: verdict for entry, verdict in entries.items() if not entry.startswith(_AGENT)}
            verdicts |= {f"{entry}|{scope}": verdict for entry, verdict in own.items()}
            if any(entry.startswith("country:") and verdict == "allow" for entry, verdict in own.items()):
                verdicts[f"{ONLY}|{scope}"] = "only"
            if words := [
                f"{verdict}:{quote(entry.removeprefix(_AGENT), safe='')}"
                for entry, verdict in sorted(entries.items())
                if entry.startswith(_AGENT)
            ]:
                agents[scope] = " ".join(words)
        lists_countries = any(key.startswith("country:") for key in verdicts)
        return PlaceMaps(verdicts, agents, lists_countries, any(key.startswith("AS") for key in verdicts))
