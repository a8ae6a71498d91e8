"""`upgrade` and `uninstall` with real environments, pip, and HAProxy."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lumos_agent.config import State
from lumos_agent.drivers.haproxy import Haproxy
from tests.agent.builders import Shield
from tests.agent.test_edge_setup import PATHS, agent, photograph
from tests.agent.test_edge_setup import root as root
from tests.agent.wheels import environment, sha256, wheel

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="these commands need root"),
    pytest.mark.skipif(shutil.which("useradd") is None or shutil.which("systemctl") is None, reason="needs both"),
]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment of an agent 0.1.0, and with a copy of it."""
    folder = tmp_path_factory.mktemp("upgrade")
    pip(environment(folder / "agent"), wheel(folder, "0.1.0"))
    shutil.copytree(folder / "agent", folder / "copy", symlinks=True)
    return folder


@pytest.fixture
def installed(made_once: Path) -> Path:
    """The command of an agent 0.1.0 in an environment of its own, as it was made."""
    for left in (*made_once.glob("agent*"), *made_once.glob("state")):
        shutil.rmtree(left)
    return Path(shutil.copytree(made_once / "copy", made_once / "agent", symlinks=True)) / "bin" / "lumos-agent"


def pip(folder: Path, file: Path) -> None:
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "-q", "--no-index", "--disable-pip-version-check", file],
        check=True,
        env=clean(),
    )


def clean() -> dict[str, str]:
    """The environment without this suite's import path, and without a package index."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PIP_NO_INDEX": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def call(command: Path, *words: str | Path, expected: int = 0) -> str:
    done = subprocess.run([command, *words], capture_output=True, text=True, env=clean(), timeout=100)
    assert done.returncode == expected, done.stdout + done.stderr
    assert "Traceback (most recent call last)" not in done.stdout
    return (done.stdout + done.stderr).strip()


def upgrade(command: Path, file: Path, checksum: str = "", expected: int = 0) -> str:
    state = command.parents[2] / "state"
    words = ("--wheel", file, "--sha256", checksum or sha256(file))
    return call(command, "--state-dir", state, "upgrade", *words, expected=expected)


def test_a_good_version_replaces_the_former_and_so_does_the_same_version_again(installed: Path, tmp_path: Path) -> None:
    new = wheel(tmp_path, "0.2.0")
    assert "lumos-agent 0.2.0" in upgrade(installed, new)
    assert call(installed, "--version") == "0.2.0"
    upgrade(installed, wheel(tmp_path, "0.2.0", cli_prelude="REBUILT = True"))
    assert "REBUILT" in next(installed.parents[1].rglob("lumos_agent/cli.py")).read_text()
    assert not [path.name for path in installed.parents[2].glob("agent.*")]


@pytest.mark.parametrize(
    ("prelude", "requires", "words"),
    [
        ("raise SystemExit('broken build')", "", "broken build"),
        ("import sys\nif 'doctor' in sys.argv: raise SystemExit('no doctor')", "", "no doctor"),
        (
            'import sys\nif \'doctor\' in sys.argv: print(\'[{"check":"HAProxy installed","result":"fail","detail":""}]\'); sys.exit()',
            "",
            "HAProxy installed",
        ),
        ("", "Requires-Dist: no-such-package-of-lumos\n", "pip could not install"),
    ],
)
def test_a_bad_version_is_replaced_by_the_former(
    installed: Path, tmp_path: Path, prelude: str, requires: str, words: str
) -> None:
    bad = wheel(tmp_path, "0.2.0", cli_prelude=prelude, requires=requires)
    message = upgrade(installed, bad, expected=1)
    assert words in message
    assert "the former version is back" in message
    assert call(installed, "--version") == "0.1.0"
    assert not [path.name for path in installed.parents[2].glob("agent.*")]


def test_an_upgrade_that_was_killed_half_way_still_has_its_way_back(installed: Path, tmp_path: Path) -> None:
    slow = "import os, sys, time\nif 'doctor' in sys.argv and 'SLOW' in os.environ: time.sleep(60)"
    new = wheel(tmp_path, "0.2.0", cli_prelude=slow)
    argv: list[str | Path] = [
        installed,
        "--state-dir",
        installed.parents[2] / "state",
        "upgrade",
        "--wheel",
        new,
        "--sha256",
        sha256(new),
    ]
    with subprocess.Popen(argv, env={**clean(), "SLOW": "1"}, start_new_session=True) as upgrading:
        deadline = time.monotonic() + 60
        while b"doctor" not in children(upgrading.pid) or call(installed, "--version") != "0.2.0":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(upgrading.pid, signal.SIGKILL)
    assert (installed.parents[2] / "agent.former").is_dir()
    upgrade(installed, wheel(tmp_path, "0.3.0", cli_prelude="raise SystemExit(3)"), expected=1)
    assert call(installed, "--version") == "0.1.0"


def children(pid: int) -> bytes:
    """Return the command lines of a process's children."""
    numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return b" ".join(Path(f"/proc/{number}/cmdline").read_bytes() for number in numbers)


def test_a_wrong_checksum_changes_nothing(installed: Path, tmp_path: Path) -> None:
    before = photograph_names(installed.parents[1])
    assert "nothing was changed" in upgrade(installed, wheel(tmp_path, "0.2.0"), "0" * 64, expected=1)
    assert photograph_names(installed.parents[1]) == before
    assert "cannot read" in upgrade(installed, tmp_path / "lumos_agent-9-py3-none-any.whl", "0" * 64, expected=1)


def photograph_names(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_uninstall_ends_haproxy_restores_the_machine_and_keeps_the_state(root: Path) -> None:
    python = public_python()
    before = photograph(root)
    agent("edge-setup", "--root", root)
    unit = ["systemctl", f"--root={root}", "--quiet", "enable", "lumos-agent.service"]
    subprocess.run(unit, check=True)
    haproxy = Haproxy(serve_as_lumos(root, python), (), ())
    assert (master := haproxy.master()) is not None
    assert Path(f"/proc/{master.pid}").stat().st_uid == (root / "var/lib/lumos").stat().st_uid
    assert "rm -r" in agent("uninstall", "--yes", "--root", root, python=python)
    assert haproxy.master() is None
    state = {name for name in photograph(root) if name.startswith("var/lib/lumos")}
    assert "var/lib/lumos/token" in state
    assert {name: seen for name, seen in photograph(root).items() if name not in state} == before
    assert {(root / name).lstat().st_uid for name in state} == {0}
    agent("uninstall", "--yes", "--purge", "--root", root)
    assert photograph(root) == before


def public_python() -> str:
    """Return a Python of this version that ordinary users may run; root's own cannot become another user."""
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        words = [python, "-c", "import msgspec, lumos_agent"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(words, env=PATHS, capture_output=True, check=True, user=65534, group=65534, extra_groups=[])
            return python
    pytest.skip("no Python of this version that ordinary users may run")


def serve_as_lumos(root: Path, python: str) -> State:
    """Enrol by hand, let root's `lumos-agent run` start HAProxy as the user lumos, and end that agent."""
    made = Shield.new(root / "var/lib/lumos")
    uid = made.state.root.stat().st_uid
    for path in made.state.root.rglob("*"):
        os.chown(path, uid, uid, follow_symlinks=False)
    argv = [python, "-m", "lumos_agent.cli", "--state-dir", str(made.state.root), "run"]
    with subprocess.Popen(argv, env=PATHS) as running:
        deadline = time.monotonic() + 20
        while asyncio.run(made.haproxy.running_generation()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.terminate()
    return made.state
