"""Enrolment: write the state directory and ask the gateway once who this server is."""

import asyncio
import os
import uuid
from pathlib import Path

from lumos_agent import facts, protocol
from lumos_agent.certificates import make_default_certificate
from lumos_agent.config import Settings, State, checked_gateway_url, write_atomically
from lumos_agent.connection import CONNECTED, Connection, Send
from lumos_agent.errors import AgentError

ANSWER_SECONDS = 20.0


class _Caller:
    """Says hello with nothing applied and takes the first answer."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self.server_id = ""
        self.answered = asyncio.Event()

    def hello(self) -> protocol.Hello:
        return protocol.Hello(
            protocol=protocol.PROTOCOL_VERSION,
            boot_id=self._boot_id,
            epoch="",
            revision=0,
            digest="",
            facts=protocol.Facts(),
        )

    async def heartbeat(self) -> protocol.Heartbeat:
        return protocol.Heartbeat(clock=0.0, haproxy_running=True, memory_percent=facts.memory_percent())

    async def connected(self, send: Send, welcome: protocol.Welcome, how: str = CONNECTED) -> None:
        self.server_id = welcome.server_id
        self.answered.set()

    async def received(self, message: protocol.GatewayMessage) -> None:
        """What should run is fetched by `run`."""

    def disconnected(self, why: str) -> None:
        """Nothing depends on it."""


async def _talk(connection: Connection) -> str:
    """Be connected until the task is cancelled; polls if WebSockets are refused. Returns why it ended."""
    why = await connection.once()
    return await connection.poll(why) if connection.refusals else why


async def _server_id(settings: Settings, token: str, boot_id: str) -> str:
    caller = _Caller(boot_id)
    connection = Connection(settings.gateway_url, token, caller, ca_file=settings.ca_file)
    talking = asyncio.create_task(_talk(connection))
    answered = asyncio.create_task(caller.answered.wait())
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.wait([talking, answered], return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError as error:
        raise AgentError(f"{settings.gateway_url} did not answer within {ANSWER_SECONDS:.0f} s") from error
    finally:
        answered.cancel()
        if caller.server_id:
            talking.cancel()
    if not caller.server_id:
        raise AgentError(await talking)
    return caller.server_id


def read_token(token_file: str | None) -> str:
    """Return the token from a file or from LUMOS_TOKEN; never from an argument, which every user could see.

    Raises:
        AgentError: there is none.
    """
    try:
        token = Path(token_file).read_text(encoding="ascii") if token_file else os.environ.get("LUMOS_TOKEN", "")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"cannot read {token_file}: {error}") from error
    if not token.strip():
        raise AgentError(
            "no token: set LUMOS_TOKEN or give --token-file; the dashboard shows it when a server is added"
        )
    return token.strip()


async def enroll(state: State, settings: Settings, token: str) -> str:
    """Write settings and token after the gateway has accepted them; returns the server's id.

    Raises:
        AgentError: the gateway cannot be reached or does not know the token; nothing is changed then.
    """
    checked_gateway_url(settings.gateway_url)
    state.create()
    settings.server_id = await _server_id(settings, token, str(uuid.uuid4()))
    write_atomically(state.token_file, f"{token}\n".encode())
    make_default_certificate(state.default_certificate)
    state.save_settings(settings)
    return settings.server_id
