"""What proxied names answer: as the control plane decided, or, while it is gone, by its last rules and own probes."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from lumos_agent import protocol
from lumos_agent.daemons import Daemon
from lumos_agent.failover import Health, Rule, addresses, decide
from lumos_agent.schema import Snapshot
from lumos_agent.verdict import Sight, Verdict, seen_alone
from lumos_agent.zone import Address, Proxied, Zone

log = logging.getLogger(__name__)

ALONE_SECONDS = 15.0  # without a connection, before this shield decides itself
REJOIN_SECONDS = 30.0  # with one again, before it leaves that to the control plane
LOOK_SECONDS = 1.0

Known = tuple[str, ...]


class Answers:
    """The decisions of one shield; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        sights: Callable[[str], Sequence[Sight]],
        peers: Callable[[], Iterable[protocol.Peer]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sights = sights
        self._peers = peers
        self._clock = clock
        self._turned_at = clock()
        self._is_connected = False
        self._is_alone = False
        self._serves_since: dict[str, float] = {}
        self._answered: dict[str, tuple[Known, float | None]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._decided: dict[str, frozenset[str]] = {}

    def connection(self, *, is_connected: bool) -> None:
        """Note that the control plane came or went; failed attempts to reach it change nothing."""
        if is_connected != self._is_connected:
            self._is_connected, self._turned_at = is_connected, self._clock()

    def look(self, snapshot: Snapshot) -> bool:
        """Decide anew; True if the answers are others than before."""
        spent = self._clock() - self._turned_at
        is_alone = spent < REJOIN_SECONDS and self._is_alone if self._is_connected else spent >= ALONE_SECONDS
        if is_alone != self._is_alone:
            log.warning("answers_decided_here" if is_alone else "answers_left_to_the_control_plane")
        before = (self._is_alone, self._decided, self._dead())
        self._is_alone = is_alone
        if not is_alone:
            self._answered.clear()
            self._decided = {}
        self._judge(snapshot)
        if is_alone:
            self._decided = {rule.hostname: self._answer(rule) for rule in snapshot.failover}
        return before != (is_alone, self._decided, self._dead()) and (is_alone or before[0])

    def _judge(self, snapshot: Snapshot) -> None:
        """Keep how the shields do, and since when they serve."""
        known = {peer.server_id: peer.addresses for peer in self._peers()}
        for rule in snapshot.failover:
            known |= {member.server: member.addresses for member in rule.members}
        own = snapshot.server_id
        self._verdicts = seen_alone(own, self._sights(own), known)
        now = self._clock()
        self._serves_since = {
            server: self._serves_since.get(server, now)
            for server, found in self._verdicts.items()
            if found.state in ("up", "degraded")
        }

    def _dead(self) -> frozenset[str]:
        return frozenset(address for found in self._verdicts.values() for address in found.down_addresses)

    def _answer(self, rule: Rule) -> frozenset[str]:
        """Return the addresses that a rule answers, by what was answered before."""
        now = self._clock()
        health = {
            server: Health(
                state=found.state,
                serves_seconds=now - self._serves_since[server] if server in self._serves_since else 0.0,
                down_addresses=found.down_addresses,
            )
            for server, found in self._verdicts.items()
        }
        answered, changed_at = self._answered.get(rule.domain, (rule.answered, None))
        found = decide(
            structs.replace(rule, answered=answered), health, None if changed_at is None else now - changed_at
        )
        if found.cause != "none":
            log.warning("failover_decided_here", extra={"domain": rule.domain, "cause": found.cause})
            changed_at = now
        self._answered[rule.domain] = (found.answered, changed_at)
        return frozenset(addresses(rule, found.answered, health))

    def decided(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the answers of now."""
        if not self._is_alone:
            return snapshot
        return structs.replace(snapshot, zones=tuple(self._zone(zone) for zone in snapshot.zones))

    def _zone(self, zone: Zone) -> Zone:
        return structs.replace(zone, proxied=tuple(self._proxied(one, zone.name) for one in zone.proxied))

    def _proxied(self, proxied: Proxied, zone: str) -> Proxied:
        hostname = zone if proxied.owner == "@" else f"{proxied.owner}.{zone}"
        above = f"*.{hostname.partition('.')[2]}"
        chosen = next((self._decided[name] for name in (hostname, above, "*") if name in self._decided), None)
        return structs.replace(
            proxied, addresses=tuple(structs.replace(a, down=self._is_down(a, chosen)) for a in proxied.addresses)
        )

    def _is_down(self, address: Address, chosen: frozenset[str] | None) -> bool:
        if chosen is not None:
            return address.address not in chosen
        found = self._verdicts.get(address.server)
        if found is None or found.state == "unknown":
            return address.down
        return address.address in found.down_addresses


class Standing(Daemon):
    """A daemon that serves zones, given the answers of now."""

    def __init__(self, daemon: Daemon, answers: Answers) -> None:
        self.name = daemon.name
        self._daemon = daemon
        self._answers = answers

    async def check(self, snapshot: Snapshot) -> None:
        """Find out whether the daemon would take the zones; raises as it does."""
        await self._daemon.check(self._answers.decided(snapshot))

    async def apply(self, snapshot: Snapshot) -> str:
        """Serve the zones; raises as the daemon does."""
        return await self._daemon.apply(self._answers.decided(snapshot))

    async def keep(self, snapshot: Snapshot) -> str:
        """Look whether the zones are served; raises as the daemon does."""
        return await self._daemon.keep(self._answers.decided(snapshot))
