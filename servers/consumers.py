"""WebSocket doors: decode, authorise, call one service, answer."""

import asyncio
import logging
import time
import uuid
from typing import Any

import msgspec
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from structlog.contextvars import bind_contextvars

from accounts.selectors import active_membership
from lumos_agent import protocol
from servers import increments, sessions, steps, wake
from servers.batches import Batches
from servers.gateway import gateway, in_database_thread
from servers.revisions import Report

log = logging.getLogger(__name__)

RETRY_SECONDS = 5

_hellos, _beats = Batches(sessions.record_hellos), Batches(sessions.record_heartbeats)
_steps, _contents = Batches(steps.next_steps), Batches(steps.keep_contents)
_reports, _errands = Batches(sessions.record_reports), Batches(sessions.wanted_errands)


class AgentConsumer(AsyncWebsocketConsumer):
    """The connection of one agent. All its work runs in order, in one task per direction.

    The task that delivers is woken, never called: bursts of wake-ups become one comparison of revisions.
    """

    channel_layer_alias = "none"  # wake-ups arrive through the process's Gateway

    server_id: uuid.UUID
    account_id: uuid.UUID
    _delivery: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept an agent that shows a valid token; refuse others with a close code that says why."""
        self.sent_revision = -1
        self.sent_domains: dict[int, int] = {}
        self.agent_digest = ""
        self.heard_at = time.monotonic()
        self._stale = asyncio.Event()
        self._sending = asyncio.Lock()
        self._challenges_stale = False
        self._peers_stale = False
        self._errand_stale = True
        self._answers_probes = False
        self._challenges = protocol.Challenges(entries={})
        self._base: increments.Base | None = None
        await self.accept(protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in self.scope["subprotocols"] else None)
        headers = dict(self.scope["headers"])
        token = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()
        try:
            found = await in_database_thread(sessions.authenticate)(token)
        except Exception:
            log.exception("gateway_cannot_authenticate")
            await self._retry_later("the control plane cannot reach its database")
            return
        if found is None:
            await self.close(protocol.CLOSE_UNAUTHORISED, reason="token unknown or rotated")
            return
        self.server_id, self.account_id = found
        bind_contextvars(server_id=str(self.server_id), account_id=str(self.account_id))

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle what comes from the socket; Channels' own way closes connections of threads that have none here."""
        await getattr(self, get_handler_name(message))(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one message; a message that breaks the protocol ends the connection."""
        if not hasattr(self, "server_id"):
            return
        try:
            message = protocol.agent_decoder.decode(text_data or bytes_data or b"")
        except msgspec.DecodeError as error:
            log.warning("agent_message_invalid", extra={"error": str(error)})
            await self.close(protocol.CLOSE_PROTOCOL, reason=str(error)[:120])
            return
        if self._delivery is None and not isinstance(message, protocol.Hello):
            await self.close(protocol.CLOSE_PROTOCOL, reason="hello expected first")
            return
        self.heard_at = time.monotonic()
        try:
            await self._handle(message)
        except Exception:
            # A database outage must not look like a protocol error: the agent keeps what it could not deliver.
            log.exception("agent_message_failed", extra={"kind": type(message).__name__})
            await self._retry_later("the control plane could not store the message")

    async def _handle(self, message: protocol.AgentMessage) -> None:
        match message:
            case protocol.Hello():
                await self._hello(message)
            case protocol.Resend():
                self._base, self.sent_revision = None, -1
                self.wake()
            case protocol.Applied() | protocol.Failed():
                domains = self.sent_domains.pop(message.revision, None)
                await _reports(self.account_id, Report(self.server_id, message, domains))
                if isinstance(message, protocol.Applied):
                    self.agent_digest = message.digest
            case protocol.Heartbeat():
                await _beats(self.account_id, (self.server_id, message))
                await self._send(protocol.HeartbeatAck(clock=time.time()))
            case _:
                for answer in await self._call(sessions.answers, message):
                    await self._send(answer)

    async def _hello(self, hello: protocol.Hello) -> None:
        if hello.protocol != protocol.PROTOCOL_VERSION or self._delivery is not None:
            await self.close(
                protocol.CLOSE_PROTOCOL, reason=f"this gateway speaks protocol {protocol.PROTOCOL_VERSION}"
            )
            return
        epoch = await _hellos(self.account_id, sessions.Greeting(self.server_id, hello))
        self.agent_digest = hello.digest
        await self._send(protocol.Welcome(server_id=str(self.server_id), epoch=epoch))
        # Register first, then read the revision: the other order loses a change in between.
        previous = gateway.add(self)
        self._delivery = asyncio.create_task(self._deliver())
        self._answers_probes = hello.facts.probe_port > 0
        self.wake_peers()
        if previous is not None:
            await previous.close_link(protocol.CLOSE_REPLACED)
        log.info("agent_connected", extra={"agent_version": hello.facts.agent_version})

    async def _deliver(self) -> None:
        """Send the newest snapshot whenever a wake-up says that there may be one."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                if self._challenges_stale:
                    self._challenges_stale = False
                    await self._send_challenges()
                await self._send_step()
                if self._errand_stale:
                    self._errand_stale = False
                    if (errand := await _errands(self.account_id, self.server_id)) is not None:
                        await self._send(errand)
                if self._peers_stale and self._answers_probes:
                    self._peers_stale = False
                    await self._send(await self._call(sessions.peers))
            except Exception:
                log.exception("delivery_failed")  # the sweep tries again

    async def _send_step(self) -> None:
        asked = steps.Asked(self.server_id, self.sent_revision, self.agent_digest, self._base)
        if (step := await _steps(self.account_id, asked)) is None:
            return
        self.sent_revision, self._base = step.compiled.revision, step.base
        if not isinstance(step.message, protocol.InSync):
            self.sent_domains = {step.compiled.revision: step.compiled.domains}
        await self._send(step.message)
        await _contents(self.account_id, (self.server_id, step.compiled))

    async def _send_challenges(self) -> None:
        relayed, readiness = await self._call(sessions.challenge_news)
        if relayed != self._challenges:
            self._challenges = relayed
            await self._send(relayed)
        for token, waiting in readiness.items():
            await self._send(protocol.ChallengeReady(token=token, waiting=waiting))

    async def disconnect(self, code: int) -> None:
        """Forget the agent; its presence ends unless another connection took over."""
        if self._delivery is None:
            return
        self._delivery.cancel()
        if gateway.remove(self):
            try:
                await self._call(sessions.record_goodbye)
            except Exception:
                log.exception("goodbye_failed")  # the lease ends by itself
        log.info("agent_disconnected", extra={"code": code})

    @property
    def is_alive(self) -> bool:
        """Whether the agent was heard within its deadline."""
        return time.monotonic() - self.heard_at < protocol.PEER_DEADLINE_SECONDS

    def wake(self) -> None:
        """Compare revisions soon."""
        self._stale.set()

    def wake_challenges(self) -> None:
        """Compare relayed challenges soon."""
        self._challenges_stale = True
        self._stale.set()

    def wake_peers(self) -> None:
        """Say soon whom it probes."""
        self._peers_stale = True
        self._stale.set()

    def wake_errand(self) -> None:
        """Say soon what root is to do."""
        self._errand_stale = True
        self._stale.set()

    async def close_link(self, code: int) -> None:
        """End the connection from the gateway's side."""
        await self.close(code)

    async def _call(self, service: Any, *args: Any) -> Any:
        return await in_database_thread(service)(self.account_id, self.server_id, *args)

    async def _send(self, message: protocol.GatewayMessage) -> None:
        begun, rest = protocol.pieces(message)
        async with self._sending:
            for piece in begun:
                await self.send(bytes_data=piece)
            await self.send(text_data=rest)

    async def _retry_later(self, why: str) -> None:
        await self._send(protocol.Retry(after_seconds=RETRY_SECONDS, message=why))
        await self.close(protocol.CLOSE_RECONNECT)


class PageConsumer(AsyncJsonWebsocketConsumer):
    """Tells the open pages of one account which of their parts are stale; never carries data itself."""

    group: str | None = None

    async def connect(self) -> None:
        """Join the group of the session's active account; visitors are refused."""
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(4401)
            return
        membership = await in_database_thread(active_membership)(user, self.scope["session"].get("account_id"))
        if membership is None:
            await self.close(4403)
            return
        self.group = wake.browser_group(membership.account_id)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def page_stale(self, message: dict[str, str]) -> None:
        """Pass the topic on."""
        await self.send_json({"topic": message["topic"]})

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if self.group is not None:
            await self.channel_layer.group_discard(self.group, self.channel_name)
