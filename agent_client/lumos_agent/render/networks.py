"""IP lists of all domains as three maps that HAProxy looks up in constant time.

`nets` finds the longest listed network P that contains a client, `parents` leads from P to the next enclosing network,
`verdicts` holds "P|scope": a domain's id, or ``*`` for what holds for all. The first verdict on the way up decides for
its scope: at each P that a scope lists, the verdict counts in the scope's own enclosing entries, so that allow wins
over deny whatever is more specific. "P|domain~" marks the networks of proxies whose X-Forwarded-For the domain trusts.
"""

import socket
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lumos_agent.render.entries import Entries, EntriesTable

DEPTH_MIN = 4
REBUILD_FROM = 500
PROXY = "~"

_LENGTH_BITS = 8
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1

# (scope, network, verdict or None where it is listed no more); the scope of trusted proxies ends with `PROXY`.
Change = tuple[str, str, str | None]


class NetworkMaps(NamedTuple):
    """Keys and values of the three maps; `depth` is how many networks nest at most, at least `DEPTH_MIN`."""

    nets: Entries
    parents: Entries
    verdicts: Entries
    depth: int


class _Family:
    """The networks of IPv4 or IPv6. A key is the first address and the prefix length in one integer, so that a network
    stands right before what it contains."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._keys: list[int] = []
        self._texts: dict[int, str] = {}
        self._lengths: Counter[int] = Counter()

    def fill(self, networks: Mapping[int, str]) -> None:
        self._texts = dict(networks)
        self._keys = sorted(self._texts)
        self._lengths = Counter(key & _LENGTH_MASK for key in self._keys)

    def add(self, key: int, text: str) -> None:
        insort(self._keys, key)
        self._texts[key] = text
        self._lengths[key & _LENGTH_MASK] += 1

    def remove(self, key: int) -> None:
        del self._keys[bisect_left(self._keys, key)]
        del self._texts[key]
        self._lengths[key & _LENGTH_MASK] -= 1

    def parent(self, key: int) -> str | None:
        """Return the smallest other network that contains `key`."""
        address, length = key >> _LENGTH_BITS, key & _LENGTH_MASK
        for shorter in range(length - 1, -1, -1):
            if self._lengths[shorter]:
                free = self._bits - shorter
                found = self._texts.get((address >> free << free) << _LENGTH_BITS | shorter)
                if found is not None:
                    return found
        return None

    def inside(self, key: int) -> list[str]:
        """Return the other networks that `key` contains."""
        address, length = key >> _LENGTH_BITS, key & _LENGTH_MASK
        last = (address | (1 << (self._bits - length)) - 1) << _LENGTH_BITS | _LENGTH_MASK
        keys = self._keys
        return [self._texts[inner] for inner in keys[bisect_right(keys, key) : bisect_right(keys, last)]]

    def nested(self) -> list[tuple[str, str | None]]:
        """Return (network, parent) of all, parents first."""
        found: list[tuple[str, str | None]] = []
        opened: list[tuple[int, str]] = []
        for key in self._keys:
            text, address = self._texts[key], key >> _LENGTH_BITS
            while opened and opened[-1][0] < address:
                opened.pop()
            found.append((text, opened[-1][1] if opened else None))
            opened.append((address | (1 << (self._bits - (key & _LENGTH_MASK))) - 1, text))
        return found


class NetworkTable:
    """The maps, kept up to date: what changes costs, not what there is."""

    def __init__(self) -> None:
        self._lists: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._clear()

    def _clear(self) -> None:
        self._uses: Counter[str] = Counter()
        self._families = (_Family(32), _Family(128))
        self._nets, self._parents, self._verdicts = EntriesTable(), EntriesTable(), EntriesTable()
        self._depths: dict[str, int] = {}
        self._nesting: Counter[int] = Counter()

    def maps(self) -> NetworkMaps:
        """Return the maps; they do not change with the table."""
        depth = max((depth for depth, count in self._nesting.items() if count), default=0)
        maps = (self._nets.entries(), self._parents.entries(), self._verdicts.entries())
        return NetworkMaps(*maps, max(DEPTH_MIN, depth))

    def update(self, changes: Sequence[Change]) -> None:
        """Take what scopes list now; a network that a scope did not list cannot be listed no more."""
        if len(changes) <= REBUILD_FROM:
            for change in changes:
                self._put(*change)
            return
        for scope, network, verdict in changes:
            if verdict is None:
                del self._lists[scope][network]
            else:
                self._lists[scope][network] = verdict
        self._rebuild()

    def _put(self, scope: str, network: str, verdict: str | None) -> None:
        family, key = self._place(network)
        listed = self._lists[scope]
        before = listed.get(network)
        if before is None:
            self._uses[network] += 1
            if self._uses[network] == 1:
                self._insert(family, key, network)
        if verdict is None:
            del listed[network]
            self._verdicts.pop(f"{network}|{scope}")
        else:
            listed[network] = verdict
            self._judge(scope, network)
        if "allow" in (before, verdict):
            for inner in family.inside(key):
                if inner in listed:
                    self._judge(scope, inner)
        if verdict is None:
            self._uses[network] -= 1
            if self._uses[network] == 0:
                del self._uses[network]
                self._take_out(family, key, network)

    def _judge(self, scope: str, network: str) -> None:
        """Set a scope's verdict at a network that it lists: allow if it or anything around it is allowed."""
        listed = self._lists[scope]
        verdict, outer = listed[network], self._parents.get(network)
        while verdict == "deny" and outer is not None:
            verdict = "allow" if listed.get(outer) == "allow" else verdict
            outer = self._parents.get(outer)
        self._verdicts[f"{network}|{scope}"] = verdict

    def _insert(self, family: _Family, key: int, network: str) -> None:
        parent = family.parent(key)
        for inner in family.inside(key):
            if self._parents.get(inner) == parent:
                self._parents[inner] = network
            self._set_depth(inner, self._depths[inner] + 1)
        family.add(key, network)
        self._link(network, parent)

    def _take_out(self, family: _Family, key: int, network: str) -> None:
        parent = self._parents.pop(network)
        for inner in family.inside(key):
            if self._parents.get(inner) == network:
                if parent is None:
                    self._parents.pop(inner)
                else:
                    self._parents[inner] = parent
            self._set_depth(inner, self._depths[inner] - 1)
        family.remove(key)
        self._nesting[self._depths.pop(network)] -= 1
        self._nets.pop(network)

    def _link(self, network: str, parent: str | None) -> None:
        self._nets[network] = network
        if parent is not None:
            self._parents[network] = parent
        self._set_depth(network, 1 + (self._depths[parent] if parent is not None else 0))

    def _set_depth(self, network: str, depth: int) -> None:
        if network in self._depths:
            self._nesting[self._depths[network]] -= 1
        self._depths[network] = depth
        self._nesting[depth] += 1

    def _rebuild(self) -> None:
        """Make the maps from nothing, which is faster where much changed."""
        self._clear()
        keys: tuple[dict[int, str], dict[int, str]] = ({}, {})
        for entries in self._lists.values():
            self._uses.update(entries.keys())
        for network in self._uses:
            keys[":" in network][_key(network)] = network
        for family, networks in zip(self._families, keys, strict=True):
            family.fill(networks)
            for network, parent in family.nested():
                self._link(network, parent)
        for scope, entries in self._lists.items():
            for network in entries:
                self._judge(scope, network)

    def _place(self, network: str) -> tuple[_Family, int]:
        return self._families[":" in network], _key(network)


def _key(network: str) -> int:
    address, _, length = network.partition("/")
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return int.from_bytes(packed) << _LENGTH_BITS | int(length)
