"""The agent's loop: desired state in, reports out, HAProxy watched, metrics delivered."""

import asyncio
import contextlib
import logging
import os
import time
from typing import Any

import msgspec

from lumos_agent import facts, protocol
from lumos_agent.apply import Applier, OnStep
from lumos_agent.beside import Beside
from lumos_agent.budget import Budget
from lumos_agent.challenges import Challenges
from lumos_agent.config import State, probe_port, write_atomically
from lumos_agent.connection import CONNECTED, Connection, Send
from lumos_agent.counters import Workers, parse_info
from lumos_agent.crawlers import Crawlers
from lumos_agent.desired import Desired
from lumos_agent.dns import Resolver
from lumos_agent.drivers.build import installed_build
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.errands import Errands
from lumos_agent.errors import AgentError, ApplyError, HaproxyError
from lumos_agent.eventlog import EventLog
from lumos_agent.geo import Geo, Locator, Needs
from lumos_agent.instance import single_instance
from lumos_agent.issuance import Issuer
from lumos_agent.local_http import LocalHttp
from lumos_agent.metrics import Metrics
from lumos_agent.options import options_of
from lumos_agent.origins import OriginWatch
from lumos_agent.relay import Relay
from lumos_agent.response import AttackResponse
from lumos_agent.sealing import SealingKey
from lumos_agent.served import ServedCertificates
from lumos_agent.store import Store, running_snapshot
from lumos_agent.surge import Surge
from lumos_agent.tunnel_doctor import Notes

log = logging.getLogger(__name__)

WATCH_SECONDS = 10.0
COLLECT_SECONDS = 1.0
PLACES_SECONDS = 30.0
DRAIN_SECONDS = 0.1
COLLECT_SHARE = 250  # a round of collecting may take one part in this many of the CPU
_DIGEST_CHARACTERS = 64


class Agent:
    """Everything that `lumos-agent run` does."""

    def __init__(self, state: State, *, on_step: OnStep = lambda step: None) -> None:
        settings = state.settings()
        token = state.token()
        self._state = state
        self._haproxy = Haproxy(state, settings.http, settings.https)
        self._workers = Workers(state)
        events = EventLog(state.events, state.fifo, Locator(state))
        self._events = events
        self._metrics = Metrics(state.spool_file, self._workers, events)
        self._geo = Geo(state)
        countries, systems = self._geo.known()
        options = msgspec.structs.replace(options_of(state), countries=countries, systems=systems)
        self._places_wanted = asyncio.Event()
        self._beside = Beside(state, self._report, self._note_tunnels)
        self._applier = Applier(
            state,
            options,
            self._haproxy,
            Store(state.snapshot_file, token),
            daemons=self._beside.daemons,
            before_reload=self._before_reload,
            on_step=on_step,
        )
        self._beside.follow(self._applier, self._metrics)
        self._crawlers = Crawlers(state, Resolver())
        self._response = AttackResponse(
            state.watches_file, self._applier, self._workers, events, self._metrics, self._crawlers.suspect
        )
        self._desired = Desired(self._applier.stored)
        self._origins = OriginWatch(self._workers, self._report)
        self._certificates = ServedCertificates(state)
        self._challenges = Challenges(state)
        self._relay = Relay(self._challenges, self._beside.dns_challenges, self._report)
        self._budget = Budget(self._report)
        self._errands = Errands(state)
        self._issuer = Issuer(
            state,
            self._certificates,
            self._challenges,
            self._beside.dns_challenges,
            publish=self._publish_challenge,
            withdraw=self._relay.withdraw,
            report=self._report_certificate,
            ask=self._ask_for_order,
        )
        self._connection = Connection(
            settings.gateway_url, token, self, ca_file=settings.ca_file, poll_seconds=settings.poll_seconds
        )
        self._local_http = LocalHttp(settings.local_http, state, self._haproxy, self.status)
        self._noted_tunnels: Notes | None = None
        self._wanted: asyncio.Queue[tuple[protocol.Config, protocol.Patch | None]] = asyncio.Queue(1)
        self._newest = ("", -1)
        self._send: Send | None = None
        self._new_batch = asyncio.Event()
        self._collecting = asyncio.Lock()
        self._worker_replaced = asyncio.Event()
        self._incidents: list[protocol.Incident] = []
        self._cpu = facts.CpuMeter()
        self._facts = protocol.Facts()
        self._status: dict[str, Any] = {"connection": "not connected yet", "last_apply": None}

    async def run(self) -> None:
        """Run until cancelled; HAProxy goes on."""
        with single_instance(self._state):
            key = SealingKey(self._state.sealing_key).public()
            self._facts = facts.facts(self._state.root, installed_build(), key, probe_port(self._state.settings()))
            self._haproxy.adopt()
            await self._repair()
            own = (
                self._apply_wanted, self._watch, self._place, self._collect, self._release_workers, self._deliver,
            )  # fmt: skip
            others = (self._beside.run, self._origins.run, self._crawlers.run, self._issuer.run)
            async with asyncio.TaskGroup() as group:
                for job in (self._connection.run, self._local_http.run, *own, *others):
                    group.create_task(job())

    async def _repair(self) -> None:
        """Bring HAProxy up before anything else; an error is reported and tried again by the watch."""
        try:
            if mended := await self._applier.repair():
                log.warning("repaired", extra={"what": mended})
                self._incidents.append(protocol.Incident(kind="repaired", message=mended))
            await self._applier.refresh()
            await self._workers.attach()
            self._want_certificates()
        except (AgentError, OSError) as error:
            log.error("start_incomplete", extra={"error": str(error)})

    # What the connection asks for (connection.Handler)

    def hello(self) -> protocol.Hello:
        """Say what runs here."""
        identity = self._applier.identity()
        return protocol.Hello(
            protocol=protocol.PROTOCOL_VERSION,
            boot_id=self._metrics.boot_id,
            epoch=identity.epoch,
            revision=identity.revision,
            digest=identity.digest if len(identity.digest) == _DIGEST_CHARACTERS else "",
            facts=msgspec.structs.replace(self._facts, clock=time.time()),
        )

    async def heartbeat(self) -> protocol.Heartbeat:
        """Say how the machine does."""
        info: dict[str, str] = {}
        generations = 0
        with contextlib.suppress(HaproxyError):
            worker = await self._workers.attach()
            info = parse_info(await worker.session.command("show info"))
            generations = await self._haproxy.worker_generations()
        return protocol.Heartbeat(
            clock=time.time(),
            haproxy_running=bool(info),
            workers=generations,
            haproxy_uptime_seconds=int(float(info.get("Uptime_sec", 0))),
            connections=int(info.get("CurrConns", 0)),
            cpu_percent=self._cpu.percent(),
            memory_percent=facts.memory_percent(),
            disk_percent=facts.disk_percent(self._state.root),
            geo=self._geo.problem,
            agent_rss_bytes=facts.own_memory_bytes(),
        )

    async def connected(self, send: Send, welcome: protocol.Welcome, how: str = CONNECTED) -> None:
        """Remember which server this is, and tell what waited."""
        self._send = send
        self._newest = ("", -1)
        settings = self._state.settings()
        if settings.server_id != welcome.server_id:
            self._state.save_settings(msgspec.structs.replace(settings, server_id=welcome.server_id))
        self._note("connection", how)
        log.info("connected", extra={"server_id": welcome.server_id})
        while self._incidents:
            await send(self._incidents.pop(0))
        await send(await self.heartbeat())
        statuses = self._issuer.statuses()
        for start in range(0, len(statuses), protocol.CERTIFICATES_MAX):
            await send(protocol.Certificates(statuses=tuple(statuses[start : start + protocol.CERTIFICATES_MAX])))
        self._origins.tell_all()
        self._beside.connected()
        self._new_batch.set()

    async def received(self, message: protocol.GatewayMessage) -> None:
        """Take a configuration (the newest one wins) or an acknowledgement."""
        match message:
            case protocol.Config() | protocol.Patch() | protocol.InSync() | protocol.SnapshotWanted():
                await self._received_wanted(message)
            case protocol.Challenges() | protocol.ChallengeReady():
                await self._relay.received(message)
            case protocol.Peers():
                await self._beside.prober.use(message)
            case protocol.OrderAnswer():
                self._budget.received(message)
            case protocol.Errand():
                self._errands.received(message)
            case protocol.HeartbeatAck():
                self._issuer.orders.clock_skew_seconds = time.time() - message.clock
            case protocol.BatchAck():
                self._metrics.acknowledge(message)
                self._new_batch.set()

    async def _received_wanted(
        self, message: protocol.Config | protocol.Patch | protocol.InSync | protocol.SnapshotWanted
    ) -> None:
        match message:
            case protocol.Config():
                self._desired.take(message)
                self._want(message)
            case protocol.Patch():
                if (config := self._desired.patched(message)) is not None:
                    self._want(config, message)
                else:
                    await self._report(protocol.Resend())
            case protocol.InSync():
                self._newest = (message.epoch, message.revision)
                await self._report(
                    protocol.Applied(
                        epoch=message.epoch,
                        revision=message.revision,
                        digest=message.digest,
                        how="nothing",
                        reason="this configuration runs already",
                    )
                )
            case protocol.SnapshotWanted():
                if (stored := self._applier.stored()) is not None:
                    await self._report(running_snapshot(stored))

    def _want(self, config: protocol.Config, patch: protocol.Patch | None = None) -> None:
        epoch, revision = self._newest
        if config.epoch == epoch and config.revision <= revision:
            return
        self._newest = (config.epoch, config.revision)
        if self._wanted.full():
            self._wanted.get_nowait()
        self._wanted.put_nowait((config, patch))

    def disconnected(self, why: str) -> None:
        """Note it; sites go on."""
        self._send = None
        self._beside.answers.connection(is_connected=False)
        self._note("connection", why)

    # Jobs

    async def _apply_wanted(self) -> None:
        while True:
            config, patch = await self._wanted.get()
            try:
                async with self._collecting:
                    report: protocol.Applied | protocol.Failed = await self._applier.apply(config, patch)
                    self._want_certificates()
                self._places_wanted.set()
                self._beside.applied()
            except ApplyError as error:
                report = _failed(config, error.stage, str(error))
            except Exception as error:
                # The loop must outlive any single configuration; the old one is in service.
                log.exception("apply_crashed")
                report = _failed(config, "write", f"the agent could not apply it: {error}")
            self._status["last_apply_at"] = time.time()
            self._note("last_apply", msgspec.to_builtins(report))
            await self._report(report)
            await self._refresh_challenges()
            await self._beside.prober.refresh()
            self._new_batch.set()  # a reload may have made one

    async def _place(self) -> None:
        """Keep the maps of countries and autonomous systems as new as their databases, while a list needs them."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._places_wanted.wait(), PLACES_SECONDS)
            self._places_wanted.clear()
            try:
                maps = await self._geo.update(Needs.of(self._applier.snapshot()))
                async with self._collecting:
                    if self._applier.use_places(*maps):
                        await self._applier.refresh()
                await self._beside.refresh_places()
                self._note("geo", self._geo.problem)
            except (AgentError, OSError) as error:
                log.error("places_not_updated", extra={"error": str(error)})

    def _want_certificates(self) -> None:
        if (snapshot := self._applier.snapshot()) is not None:
            self._issuer.want(snapshot)

    async def _refresh_challenges(self) -> None:
        try:
            await self._challenges.refresh()
        except HaproxyError as error:
            log.warning("challenges_not_refreshed", extra={"error": str(error)})

    async def _publish_challenge(self, domain_id: str, token: str, key_authorization: str) -> None:
        """Let the domain's other shields answer too; without a connection this one answers alone."""
        if self._send is not None:
            await self._relay.publish(domain_id, token, key_authorization)

    async def _ask_for_order(self, domain_id: str) -> protocol.OrderAnswer | None:
        return None if self._send is None else await self._budget.ask(domain_id)

    async def _report(self, report: protocol.AgentMessage) -> None:
        """Send if connected; what is lost is found by digest at the next hello."""
        if self._send is not None:
            with contextlib.suppress(Exception):
                await self._send(report)

    async def _report_certificate(self, status: protocol.CertificateStatus) -> None:
        await self._report(protocol.Certificates(statuses=(status,)))

    async def _collect(self) -> None:
        surge = Surge()
        while True:
            began = time.process_time()
            try:
                async with self._collecting:
                    made = await self._metrics.collect()
                    await self._ensure_worker()
                    await self._response.look()
                if made:
                    self._new_batch.set()
            except (AgentError, OSError) as error:
                log.warning("collect_failed", extra={"error": str(error)})
            await surge.wait(self._workers, max(COLLECT_SECONDS, (time.process_time() - began) * COLLECT_SHARE))

    async def _before_reload(self) -> None:
        await self._metrics.before_reload()
        self._worker_replaced.set()

    async def _release_workers(self) -> None:
        """Let workers that were replaced go as soon as they serve nobody any more."""
        while True:
            await self._worker_replaced.wait()
            self._worker_replaced.clear()
            while self._workers.has_retiring():
                await asyncio.sleep(DRAIN_SECONDS)
                try:
                    async with self._collecting:
                        if await self._metrics.release():
                            self._new_batch.set()
                except (AgentError, OSError) as error:
                    log.warning("worker_not_released", extra={"error": str(error)})

    async def _ensure_worker(self) -> None:
        """Have a session to the current worker; if none answers, it died. The caller holds `_collecting`."""
        try:
            await self._workers.attach()
        except HaproxyError:
            await self._revive()

    async def _watch(self) -> None:
        """Notice a dead worker at once through its session, and look after HAProxy every ten seconds in any case."""
        while True:
            worker = self._workers.current
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    if worker is None:
                        await asyncio.sleep(WATCH_SECONDS)
                    else:
                        await worker.session.closed()
            try:
                async with self._collecting:
                    if worker is not None and worker.session.is_closed() and not worker.is_retiring:
                        self._workers.finish(worker)
                    await self._ensure_worker()
                    if mended := await self._applier.keep_daemons():
                        log.warning("repaired", extra={"what": mended})
                        await self._report(protocol.Incident(kind="repaired", message=mended))
                    await self._tell_failure()
            except (AgentError, OSError) as error:
                log.error("haproxy_not_running", extra={"error": str(error)})

    async def _tell_failure(self) -> None:
        """Say that requests passed unjudged, because the WAF's engine failed."""
        if failure := self._events.failure:
            self._events.failure = ""
            log.error("waf_failed", extra={"error": failure})
            await self._report(protocol.Incident(kind="waf_failed", message=failure))

    async def _revive(self) -> None:
        log.error("haproxy_died", extra={"last_words": self._haproxy.last_words()[-500:]})
        await self._applier.revive()
        await self._workers.attach()
        incident = protocol.Incident(kind="haproxy_crash", message=self._haproxy.last_words()[-4000:])
        await self._report(incident)

    async def _deliver(self) -> None:
        """Send waiting batches in order; each goes when the one before it is acknowledged, again after a reconnect."""
        while True:
            await self._new_batch.wait()
            self._new_batch.clear()
            if (batch := self._metrics.first_waiting) is not None:
                await self._report(batch)

    def _note_tunnels(self, notes: Notes | None) -> None:
        if notes != self._noted_tunnels:
            self._noted_tunnels = notes
            self._note("tunnels", msgspec.to_builtins(notes))

    def status(self) -> dict[str, Any]:
        """Return what the agent knows about itself."""
        now = {"at": time.time(), "pid": os.getpid(), "waiting_batches": self._metrics.waiting}
        return {**self._status, **now, **msgspec.to_builtins(self._applier.identity())}

    def _note(self, name: str, value: object) -> None:
        self._status[name] = value
        with contextlib.suppress(OSError):
            write_atomically(self._state.status_file, msgspec.json.encode(self.status()), durable=False)


def _failed(config: protocol.Config, stage: Any, message: str) -> protocol.Failed:
    log.error("configuration_refused", extra={"revision": config.revision, "stage": stage, "error": message[:2000]})
    return protocol.Failed(
        epoch=config.epoch,
        revision=config.revision,
        digest=config.digest,
        stage=stage,
        message=message[:16_000],
        rolled_back=True,
    )
