"""What a shield does beside the HAProxy of its sites: names, forwards, tunnels, limits of the network, probes."""

import asyncio
import logging
from collections.abc import Callable

from lumos_agent.aliases import Aliases, Found
from lumos_agent.answers import LOOK_SECONDS, Answers, Standing
from lumos_agent.apply import Applier
from lumos_agent.bans import Bans
from lumos_agent.config import State
from lumos_agent.connection import Send
from lumos_agent.daemons import Daemon, Daemons
from lumos_agent.dns import Resolver
from lumos_agent.dns_challenges import DnsChallenges, Texts
from lumos_agent.drivers.forwards import TcpForwards
from lumos_agent.drivers.knot import Knot
from lumos_agent.drivers.nftables import Nftables
from lumos_agent.drivers.wireguard import Wireguard
from lumos_agent.errors import AgentError
from lumos_agent.forward_counts import ForwardCounts
from lumos_agent.geo import country_database
from lumos_agent.metrics import Metrics
from lumos_agent.prober import Prober
from lumos_agent.schema import empty_snapshot
from lumos_agent.tunnel_doctor import Notes
from lumos_agent.tunnel_watch import TunnelWatch
from lumos_agent.zone_signing import ZoneSigning

log = logging.getLogger(__name__)

FORWARDS_SECONDS = 5.0


class Beside:
    """The daemons, and the jobs that keep them right between two configurations."""

    def __init__(self, state: State, report: Send, note_tunnels: Callable[[Notes | None], None]) -> None:
        self.prober = Prober(state, report)
        self.answers = Answers(self.prober.sights, self.prober.peers)
        self._wireguard = Wireguard(state.tunnels)
        self.tunnels = TunnelWatch(self._wireguard, report, note_tunnels)
        self._tcp, self._udp = TcpForwards(state), Nftables(state)
        self._forward_counts = ForwardCounts(self._tcp, self._udp)
        self._knot = Knot(state, state.settings().dns, country_database(state))
        self._signing = ZoneSigning(self._knot, report, state.signed_file)
        self._bans = Bans(self._udp)
        self._aliases_file = state.aliases_file
        self.daemons: tuple[Daemon, ...] = (
            self._wireguard,
            self._tcp,
            self._udp,
            Standing(self._knot, self.answers),
        )

    def follow(self, applier: Applier, metrics: Metrics) -> None:
        """Work on what `applier` applies from now on, and on what `metrics` hears; before anything else is called."""
        self._applier = applier
        self._metrics = metrics
        metrics.on_events = lambda events: self._bans.told(events, applier.snapshot())
        self._aliases = Aliases(self._aliases_file, Resolver(), applier.snapshot, self._use_resolved)
        self._knot.use_resolved(self._aliases.known())
        self.dns_challenges = DnsChallenges(applier.snapshot, self._use_texts)

    async def run(self) -> None:
        """Keep everything right until cancelled; the daemons go on."""
        async with asyncio.TaskGroup() as group:
            watches = (self._aliases.run, self.prober.run, self.tunnels.run, self._bans.run, self._signing.run)
            for job in (*watches, self._decide, self._count_forwards):
                group.create_task(job())

    def applied(self) -> None:
        """Note that there is a new configuration."""
        self._aliases.look()
        self.tunnels.look_soon()

    def connected(self) -> None:
        """Note that the control plane is there, and tell it everything."""
        self.answers.connection(is_connected=True)
        self.prober.tell_all()
        self.tunnels.tell_all()

    async def refresh_places(self) -> None:
        """Let zones use the country database as it is now."""
        if self._knot.refresh_database():
            await self._applier.keep_daemons()

    async def _use_texts(self, texts: Texts) -> None:
        if self._knot.use_texts(texts):
            await self._applier.keep_daemons()

    async def _use_resolved(self, resolved: Found) -> None:
        if self._knot.use_resolved(resolved):
            await self._applier.keep_daemons()

    async def _decide(self) -> None:
        """Keep the answers of proxied names right while the control plane is gone."""
        while True:
            try:
                if (snapshot := self._applier.snapshot()) is not None and self.answers.look(snapshot):
                    await self._applier.keep_daemons()
            except (AgentError, OSError) as error:
                log.error("answers_not_changed", extra={"error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)

    async def _count_forwards(self) -> None:
        while True:
            await asyncio.sleep(FORWARDS_SECONDS)
            snapshot = self._applier.snapshot()
            if snapshot is not None and snapshot.forwards:
                try:
                    readings = await self._forward_counts.read(snapshot)
                    self._metrics.forwarded(readings, [forward.id for forward in snapshot.forwards])
                except (AgentError, OSError) as error:
                    log.warning("forwards_not_counted", extra={"error": str(error)})


async def stop(state: State) -> None:
    """End everything; keys, zones and rules stay for the next start."""
    settings = state.settings()
    knot = Knot(state, settings.dns, country_database(state))
    await Daemons([TcpForwards(state), Nftables(state), knot]).keep(empty_snapshot())
    await Wireguard(state.tunnels).stop(settings.server_id)
