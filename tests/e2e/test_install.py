"""The install script on a throw-away copy of this machine: real packages, pip, users and units, a real dashboard."""

import json
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from lumos_agent import protocol
from servers.install import WHEEL
from tests.agent.builders import ident
from tests.agent.wheels import link_packages, wheel
from tests.e2e import machine

SUPPORTED = 'ID=debian\nVERSION_ID="12"\n'
pytestmark = [pytest.mark.e2e, pytest.mark.integration]


class Site:
    """A dashboard with a wheel, a gateway that accepts one token, and machines to install on."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        link_packages(folder / "packages")
        (folder / "machine").mkdir()

    def run(self, script: str, system: str = SUPPORTED) -> subprocess.CompletedProcess[str]:
        """Run shell code; `install` is the line that the dashboard shows, less the token."""
        (self.folder / "os-release").write_text(system)
        setup = f'cp {self.folder}/os-release /etc/os-release\ninstall() {{ curl -fsSL {self.url}/install | sh -s -- "$@"; }}\n'
        return machine.run(
            setup + script,
            self.folder / "machine",
            PYTHONPATH=str(self.folder / "packages"),
            PIP_NO_INDEX="1",
            PIP_ROOT_USER_ACTION="ignore",
        )


def gateway(connection: ServerConnection) -> None:
    """Welcome whoever says hello."""
    protocol.agent_decoder.decode(connection.recv())
    connection.send(protocol.encode(protocol.Welcome(server_id=ident(5), epoch="e")).decode())
    connection.recv()


@pytest.fixture
def site(live_server: Any, settings: Any) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="lumos-install-") as name, serve(gateway, "127.0.0.1", 0) as server:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "dist").mkdir()
        settings.WHEEL_DIR = str(wheel(folder / "dist", WHEEL.split("-")[1]).parent)
        settings.PUBLIC_URL = live_server.url
        settings.GATEWAY_URL = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/agent/v1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = Site(folder, live_server.url)
        if not machine.is_possible(folder / "machine"):
            pytest.skip("needs root and an overlay file system")
        yield made


def same_python() -> bool:
    words = ["/usr/bin/python3", "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip() == str(
        sysconfig.get_config_var("SOABI")
    )


@pytest.mark.parametrize("system", ['ID=debian\nVERSION_ID="11"\n', "ID=fedora\nVERSION_ID=43\n", "garbage(\n", ""])
def test_other_systems_are_refused_and_untouched(site: Site, system: str) -> None:
    done = site.run("install || code=$?; ls /opt/lumos 2>&1 || true; exit $code", system)
    assert done.returncode == 1, done.stdout
    assert "Lumos runs on Debian 12, Debian 13 and Ubuntu 24.04" in done.stderr
    assert "No such file" in done.stdout


@pytest.mark.parametrize("system", [SUPPORTED, "ID=debian\nVERSION_ID=13\n", 'ID=ubuntu\nVERSION_ID="24.04"\n'])
def test_wrong_arguments_and_a_wrong_checksum_install_nothing(site: Site, system: str) -> None:
    script = f"""
    install --token hello 2>&1 || true
    install --frobnicate 2>&1 || true
    curl -fsSL {site.url}/install | sed 's/^sha256=.*/sha256={"0" * 64}/' | sh 2>&1 || true
    test ! -e /opt/lumos && echo untouched
    """
    text = site.run(script, system).stdout
    for words in ("begins with lmst_", "unknown argument --frobnicate", "nothing was installed", "untouched"):
        assert words in text


@pytest.mark.skipif(not same_python(), reason="the system's Python cannot use this suite's packages")
def test_install_enroll_again_and_uninstall(site: Site) -> None:
    script = """
    install --token lmst_x
    lumos-agent --version
    systemctl is-enabled lumos-agent
    systemctl is-enabled haproxy || true
    stat -c '%U %a' /var/lib/lumos /var/lib/lumos/token
    cat /var/lib/lumos/agent.json
    systemd-analyze verify --man=no /etc/systemd/system/lumos-agent.service
    echo SECOND
    install
    lumos-agent uninstall --yes --purge
    echo THIRD
    ls -d /var/lib/lumos /etc/lumos /usr/local/bin/lumos-agent /etc/systemd/system/*/lumos-agent.service 2>&1 || true
    id lumos 2>&1 || true
    """
    done = site.run(script)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, third = (part.splitlines() for part in done.stdout.replace("SECOND", "THIRD").split("THIRD\n"))
    assert {WHEEL.split("-")[1], "enabled", "lumos 700", "lumos 600"} <= set(first)
    settings = json.loads("".join(line for line in first if line.startswith(("{", "  ", "}"))))
    assert settings["server_id"] == ident(5)
    assert "==> Upgrading the agent in /opt/lumos/agent" in second
    assert sum("No such file" in line for line in third) == 4, third
    assert "no such user" in third[-1]
    assert sys.prefix not in done.stdout
