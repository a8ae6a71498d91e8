"""Two shields of one domain, DNS pointing at the first: both get a certificate, and the second answers alone."""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.common import Api
from deploy.stack import BIN, ROOT, Stack
from lumos_agent.config import State
from tests.agent.pebble import Pebble, pebble
from tests.e2e.test_walking_path import until
from tests.services import free_port
from tests.stack import BareStack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(300),
]
HOSTNAME = "shop.site.example"
HTTP_PORT, HTTPS_PORT = free_port(), free_port()


class Shield:
    """An agent whose DNS points the domain at the first shield."""

    def __init__(self, stack: Stack, folder: Path, address: str, token: str, ca: Pebble) -> None:
        self.address = address
        self.state = State(folder)
        listen = [f"{address}:{HTTP_PORT}", "--https", f"{address}:{HTTPS_PORT}"]
        self._lumos_agent(["enroll", "--url", stack.gateway, "--local-http", "", "--http", *listen], token)
        settings = self.state.settings()
        settings.acme_ca_file, settings.acme_http_port = str(ca.ca_file), HTTP_PORT
        self.state.save_settings(settings)

    def _lumos_agent(self, words: list[str], token: str = "") -> None:
        argv = [str(BIN / "lumos-agent"), "--state-dir", str(self.state.root), *words]
        subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "LUMOS_TOKEN": token})

    @contextmanager
    def running(self, log: Path) -> Iterator[None]:
        argv = [sys.executable, "-m", "tests.e2e.resolving_agent", "--state-dir", str(self.state.root), "run"]
        with log.open("wb") as output:
            environment = {**os.environ, "LUMOS_TEST_HOST": HOSTNAME}
            process = subprocess.Popen(argv, cwd=ROOT, stderr=output, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait()
            self._lumos_agent(["shutdown", "--yes"])

    def get(self, context: ssl.SSLContext) -> int:
        """Return the status that a visitor with a strict browser gets from this shield."""
        raw = socket.create_connection((self.address, HTTPS_PORT), timeout=10)
        secured = context.wrap_socket(raw, server_hostname=HOSTNAME)
        connection = http.client.HTTPSConnection(HOSTNAME)
        connection.sock = secured
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lx-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def statuses(api: Api, domain: str) -> dict[str, Any]:
    rows = api.call("GET", f"/domains/{domain}")["certificates"]
    return {row["server"]: (row["status"], row["reason"]) for row in rows}


def test_standby_shield_is_ready(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as cleanup:
        stack = BareStack(folder)
        ca = cleanup.enter_context(pebble(folder, HTTP_PORT))
        monkeypatch.setenv("ACME_DIRECTORY_URL", ca.directory_url)
        cleanup.callback(stack.stop)
        stack.start_control_plane()
        api = Api(stack)
        servers = [api.call("POST", "/servers", {"name": name}) for name in ("first", "standby")]
        shields = [
            Shield(stack, folder / f"s{number}", f"127.0.0.{number}", server["token"], ca)
            for number, server in enumerate(servers, start=1)
        ]
        for number, shield in enumerate(shields):
            cleanup.enter_context(shield.running(folder / f"agent{number}.log"))
        origins = [{"address": "127.0.0.1", "port": stack.ports["origin"]}]
        ids = [server["server"]["id"] for server in servers]
        domain = api.call("POST", "/domains", {"hostname": HOSTNAME, "servers": ids, "origins": origins})["id"]
        wanted = dict.fromkeys(ids, ("active", ""))
        try:
            until(lambda: statuses(api, domain) == wanted, 150)
        except AssertionError:
            logs = [(folder / f"agent{number}.log").read_text()[-3000:] for number in range(2)]
            raise AssertionError(f"{statuses(api, domain)}\n" + "\n".join(logs)) from None
        context = ssl.create_default_context(cadata=ca.root().decode())
        assert [shield.get(context) for shield in shields] == [200, 200]
        master = shields[0].state.pid_file.read_text()
        os.kill(int(master.partition('"pid":')[2].partition(",")[0]), signal.SIGKILL)
        assert shields[1].get(context) == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stack.ports["redis"]), timeout=10)
