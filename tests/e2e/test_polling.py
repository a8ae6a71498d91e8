"""A shield behind a proxy that refuses WebSockets: real processes, and HAProxy as that proxy."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.common import Api
from deploy.stack import Stack, free_ports
from lumos_agent.config import State
from tests.e2e.test_walking_path import shield, started, until
from tests.stack import BareStack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("polling"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
POLL_SECONDS = 2


class Proxy:
    """Stands between agent and gateway; answers 403 to every upgrade while it `refuses`."""

    def __init__(self, folder: Path, gateway_port: int) -> None:
        self.port = free_ports(1)[0]
        self._folder = folder
        self._gateway_port = gateway_port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, refuses: bool) -> None:
        """Begin, in place of what runs."""
        self.stop()
        rule = "http-request deny deny_status 403 if { req.hdr(upgrade) -m found }" if refuses else ""
        config = self._folder / "proxy.cfg"
        config.write_text(
            f"defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout tunnel 1h\n"
            f"frontend f\n bind 127.0.0.1:{self.port}\n {rule}\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{self._gateway_port}\n"
        )
        self._process = subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """End."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@contextmanager
def proxied(stack: Stack) -> Iterator[Proxy]:
    folder = Path(tempfile.mkdtemp(prefix="lp-"))
    proxy = Proxy(folder, stack.ports["gateway"])
    try:
        yield proxy
    finally:
        proxy.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with started("embedded", BareStack) as made:
        yield made


def connection(stack: Stack) -> str:
    status: dict[str, Any] = msgspec.json.decode(State(stack.agent_state).status_file.read_bytes())
    return str(status["connection"])


def report_of(api: Api, server: str) -> Callable[[], Any]:
    def applied() -> Any:
        row = api.call("GET", f"/servers/{server}")
        return row["apply_state"] == "applied" and row

    return applied


def counted(api: Api, domain: str) -> int:
    rows = api.call("GET", f"/metrics?domain={domain}&page_size=500")["results"]
    return sum(row["requests"] for row in rows)


def test_agent_polls_where_websockets_are_refused_and_returns(stack: Stack) -> None:
    api, server = Api(stack), stack.secrets["server"]
    with proxied(stack) as proxy:
        proxy.start(refuses=True)
        state = State(stack.agent_state)
        before = state.settings()
        url = f"ws://127.0.0.1:{proxy.port}/agent/v1"
        stack.control("stop", "agent")
        state.save_settings(msgspec.structs.replace(before, gateway_url=url, poll_seconds=POLL_SECONDS))
        stack.control("start", "agent")
        until(lambda: connection(stack).startswith(f"connected, polls every {POLL_SECONDS} s"), 60)
        assert "403" in connection(stack)
        # A change arrives, and how it went is reported.
        origin = {"address": "127.0.0.1", "port": stack.ports["origin"]}
        made = api.call("POST", "/domains", {"hostname": "polled.example", "servers": [server], "origins": [origin]})
        until(lambda: shield(stack, "/", "polled.example")[0] == 200, 60)
        row = until(report_of(api, server), 60)
        assert (row["status"], row["facts"]["poll_seconds"]) == ("online", POLL_SECONDS)
        # Each request is counted, and none twice; neither when the gateway restarts in between.
        for _ in range(25):
            shield(stack, "/", "polled.example")
        until(lambda: counted(api, made["id"]) >= 26, 60)
        stack.control("restart", "app:gateway")
        for _ in range(5):
            shield(stack, "/", "polled.example")
        until(lambda: counted(api, made["id"]) >= 31, 120)
        until(lambda: not msgspec.json.decode(state.spool_file.read_bytes())["waiting"], 60)
        assert counted(api, made["id"]) == 31
        # When WebSockets get through again, the agent uses them.
        proxy.start(refuses=False)
        until(lambda: connection(stack) == "connected", 120)
        until(lambda: api.call("GET", f"/servers/{server}")["facts"]["poll_seconds"] is None, 60)
        stack.control("stop", "agent")
        state.save_settings(before)
        stack.control("start", "agent")
