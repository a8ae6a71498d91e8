"""The systemd unit."""

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from lumos_agent.errors import AgentError
from lumos_agent.system import unit


def parsed(text: str) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_haproxy_outlives_the_agent_and_the_agent_has_no_more_rights_than_it_needs() -> None:
    service = parsed(unit.text(Path(unit.USUAL_PREFIX)))["Service"]
    assert service["ExecStart"].split()[0] == "/opt/lumos/agent/bin/lumos-agent"
    assert (service["KillMode"], service["Restart"], service["User"]) == ("process", "always", "lumos")
    rights = "CAP_NET_BIND_SERVICE CAP_NET_ADMIN"
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == rights
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert service["ReadWritePaths"] == "/var/lib/lumos"
    assert (service["DevicePolicy"], service["DeviceAllow"]) == ("closed", "/dev/net/tun rw")
    assert (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"]) == ("wireguard", "yes")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    prefix = tmp_path / "agent"
    text = unit.text(Path(unit.USUAL_PREFIX)).replace(unit.USUAL_PREFIX, str(prefix))
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "lumos-agent").symlink_to(sys.executable)
    file = tmp_path / unit.NAME
    file.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_place_that_the_service_cannot_read_is_refused() -> None:
    with pytest.raises(AgentError, match="install it in /opt/lumos/agent"):
        unit.require_visible(Path("/root/venv"))


def test_the_unit_of_the_repository_is_the_one_in_the_wheel() -> None:
    root = Path(__file__).resolve().parents[2]
    assert (root / "deploy/systemd" / unit.NAME).resolve() == Path(unit.__file__).with_name(unit.NAME).resolve()
