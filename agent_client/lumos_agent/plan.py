"""Pure difference of two artefacts: nothing, commands for the running worker, or a reload with its reason."""

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, structs

from lumos_agent.render.entries import differing
from lumos_agent.render.haproxy import Artefact

# Additions go in this order and removals in the opposite one: a network is found only after its parent and verdicts
# are there, so that a request in between is judged by the old lists or the new ones. A domain becomes plain last.
MAP_ORDER = (
    "verdicts", "parents", "agents", "trusted", "cdns", "policies", "guards", "rules", "script_parts", "scripts",
    "limits", "plain", "routes", "passthrough", "hosts", "nets",
)  # fmt: skip
META = "meta"
CHANGES_MAX = 2_000
_SERVER = re.compile(r"(    server (\S+)(?: .*)?) weight (\d+)( disabled)?")


class MapChange(Struct, frozen=True):
    """One key of one map; `value` None removes it. `is_new` keys are added, others set."""

    map: str
    key: str
    value: str | None
    is_new: bool


class ServerChange(Struct, frozen=True):
    """One server of one backend: its weight and whether it is in service."""

    server: str
    weight: int
    is_enabled: bool


class Plan(Struct, frozen=True):
    """What it takes to go from what runs to what is wanted."""

    how: Literal["nothing", "runtime", "reload"]
    reason: str
    changes: tuple[MapChange, ...] = ()
    servers: tuple[ServerChange, ...] = ()

    def with_meta(self, old: Artefact | None, new: Artefact) -> "Plan":
        """Return the same plan for a `new` whose identity was completed since."""
        if self.how != "runtime" or old is None:
            return self
        others = tuple(change for change in self.changes if change.map != META)
        return structs.replace(self, changes=(*others, *_map_changes(META, old.maps[META], new.maps[META])))


def server_changes(old: str, new: str) -> tuple[ServerChange, ...] | None:
    """Return what leads from `old` to `new` if they differ in weights and `disabled` alone, else None."""
    before, after = old.split("\n"), new.split("\n")
    if len(before) != len(after):
        return None
    changes, backend = [], ""
    for was, now in zip(before, after, strict=True):
        if now.startswith("backend "):
            backend = now
        if was != now:
            is_, was_ = _SERVER.fullmatch(now), _SERVER.fullmatch(was)
            if is_ is None or was_ is None or is_[1] != was_[1]:
                return None
            changes.append(ServerChange(f"{backend.split()[1]}/{is_[2]}", int(is_[3]), is_[4] is None))
    return tuple(changes)


def _map_changes(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[MapChange]:
    if old is new:
        return []
    old, new = differing(old, new)
    known = old.get
    put = sorted([(key, value) for key, value in new.items() if known(key) != value])
    changes = [MapChange(name, key, value, key not in old) for key, value in put]
    if len(old) + sum(change.is_new for change in changes) != len(new):
        changes += [MapChange(name, key, None, False) for key in sorted(old.keys() - new.keys())]
    return changes


def _cfg_reason(old: str, new: str) -> str:
    """Name the first line that differs, so that a log of reloads tells why each was needed."""
    before, after = old.splitlines(), new.splitlines()
    added = len(after) - len(before)
    for was, now in zip(before, after, strict=False):
        if was != now:
            return f"haproxy.cfg changed ({added:+d} lines), first at: {now.strip()[:120]}"
    return f"haproxy.cfg changed ({added:+d} lines)"


def plan(old: Artefact | None, new: Artefact) -> Plan:
    """Return how to go from `old` (None: nothing runs) to `new`."""
    if old is None:
        return Plan("reload", "first configuration")
    servers = server_changes(old.cfg, new.cfg) if old.cfg != new.cfg else ()
    if servers is None:
        return Plan("reload", _cfg_reason(old.cfg, new.cfg))
    if changed := sorted(n for n in old.files.keys() | new.files.keys() if old.files.get(n) != new.files.get(n)):
        return Plan("reload", f"{', '.join(changed[:5])} changed")
    changes = [change for name in MAP_ORDER for change in _map_changes(name, old.maps.get(name, {}), new.maps[name])]
    puts = [change for change in changes if change.value is not None]
    removals = [change for change in reversed(changes) if change.value is None]
    if len(changes) > CHANGES_MAX:
        return Plan("reload", f"{len(changes)} map entries changed at once")
    meta = _map_changes(META, old.maps[META], new.maps[META])
    if not changes and not meta and not servers:
        return Plan("nothing", "the configuration is the same")
    parts = [f"{len(changes)} map entries changed"] if changes else []
    parts += [f"{len(servers)} origins changed"] if servers else []
    reason = ", ".join(parts) or "HAProxy's part is the same"
    return Plan("runtime", reason, (*puts, *removals, *meta), servers)
