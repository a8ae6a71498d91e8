"""The agent's own HTTP on loopback: a real agent with a real HAProxy, without a control plane."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lumos_agent import cli
from lumos_agent.config import Settings
from lumos_agent.drivers.haproxy import Haproxy
from tests.agent.builders import Shield, config, domain
from tests.agent.visitor import get, origin
from tests.services import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def shield() -> Iterator[Shield]:
    with tempfile.TemporaryDirectory(prefix="la-") as folder:
        yield Shield.new(Path(folder))


def serve_on(shield: Shield, listen: str) -> None:
    shield.state.save_settings(msgspec.structs.replace(shield.state.settings(), local_http=listen))


@asynccontextmanager
async def running(shield: Shield) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command `lumos-agent run` until the block ends, and HAProxy with it."""
    argv = [sys.executable, "-m", "lumos_agent.cli", "--state-dir", str(shield.state.root), "run"]
    agent = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    try:
        yield agent
    finally:
        if agent.returncode is None:
            agent.terminate()
        await agent.communicate()
        await shield.stop()


async def answer(port: int, path: str) -> tuple[int, str]:
    """Return status and body once somebody listens."""
    async with asyncio.timeout(20):
        while True:
            try:
                status, rest = await get(port, "localhost", path)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
                continue
            return status, rest.partition("\r\n\r\n")[2]


def values(text: str) -> dict[str, float]:
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


async def test_metrics_health_and_stats(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(7, domain(port=port)))
    serve_on(shield, f"127.0.0.1:{(http := free_port())}")
    async with running(shield):
        found = values((await answer(http, "/metrics"))[1])
        assert found["lumos_haproxy_running"] == 1
        assert found["lumos_haproxy_worker_generations"] >= 1
        assert found["lumos_revision"] == 7
        assert found["lumos_connected"] == found["lumos_waiting_batches"] == 0
        assert 2**20 < found["lumos_agent_resident_memory_bytes"] < 60 * 2**20
        assert "lumos_last_apply_success" not in found
        assert await answer(http, "/health") == (200, '{"healthy": true}\n')
        stats = json.loads((await answer(http, "/stats"))[1])
        assert (stats["revision"], stats["haproxy"]["running"]) == (7, True)
        assert (await answer(http, "/secrets"))[0] == 404


async def test_health_is_503_with_a_reason_while_haproxy_is_away(shield: Shield) -> None:
    serve_on(shield, f"127.0.0.1:{(http := free_port())}")
    async with running(shield):
        assert (await answer(http, "/health"))[0] == 200
        master = Haproxy(shield.state, (), ()).master()
        assert master is not None
        # A HAProxy that cannot be started again: its port belongs to another program, its configuration is gone.
        shield.state.current.rename(shield.state.root / "away")
        os.kill(master.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while "does not answer" not in json.loads((await answer(http, "/health"))[1]).get("reason", ""):
                await asyncio.sleep(0.05)
        assert (await answer(http, "/health"))[0] == 503
        assert values((await answer(http, "/metrics"))[1])["lumos_haproxy_running"] == 0


async def test_a_taken_port_is_logged_and_the_agent_runs(shield: Shield) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        serve_on(shield, f"127.0.0.1:{taken.getsockname()[1]}")
        async with running(shield) as agent:
            assert agent.stderr is not None
            async with asyncio.timeout(20):
                while b"local_http_off" not in await agent.stderr.readline():
                    pass
            assert (await get(shield.port, "nobody.example"))[0] == 421
            assert agent.returncode is None


async def test_only_get_is_served_and_garbage_is_refused(shield: Shield) -> None:
    serve_on(shield, f"127.0.0.1:{(http := free_port())}")
    async with running(shield):
        await answer(http, "/health")
        for request, expected in (
            (b"POST /health HTTP/1.1", b" 405 "),
            (b"hello", b" 400 "),
            (b"HEAD /stats HTTP/1.1", b" 200 "),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", http)
            writer.write(request + b"\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert expected in head
            assert bool(body) == (not request.startswith(b"HEAD"))


def test_enroll_refuses_an_address_of_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--state-dir", str(tmp_path), "enroll", "--url", "wss://x/agent/v1", "--local-http", "0.0.0.0:9101"]
    assert cli.main(words) == 1
    assert "127.0.0.1:9101" in capsys.readouterr().err


@pytest.mark.parametrize("listen", ["0.0.0.0:9101", "192.0.2.1:9101", "[::]:9101", "localhost:9101"])
def test_it_never_listens_to_the_network(listen: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"gateway_url": "wss://x/agent/v1", "local_http": listen}, Settings)
