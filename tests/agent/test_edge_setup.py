"""`edge-setup` on a directory that stands for a machine, with the real useradd and systemctl."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumos_agent.system import edge

NEEDED = ("useradd", "userdel", "systemctl")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="edge-setup needs root"),
    pytest.mark.skipif(any(shutil.which(name) is None for name in NEEDED), reason="needs useradd and systemctl"),
]
ROOT = Path(__file__).resolve().parents[2]
PATHS = {**os.environ, "PYTHONPATH": f"{ROOT / 'agent_client'}:{sysconfig.get_path('purelib')}"}
HAPROXY = "[Service]\nExecStart=/usr/sbin/haproxy\n[Install]\nWantedBy=multi-user.target\n"
KERNEL = {
    "net/core/somaxconn": "4096\n",
    "net/ipv4/ip_local_port_range": "32768\t60999\n",
    "net/ipv4/tcp_tw_reuse": "2\n",
}


@pytest.fixture
def root() -> Iterator[Path]:
    """A small Debian that everybody may enter: accounts, an enabled haproxy.service, kernel settings."""
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/group": "root:x:0:\n", "etc/shadow": "root:*:1:0:9:7:::\n",
        "etc/gshadow": "root:*::\n", "usr/lib/systemd/system/haproxy.service": HAPROXY,
        **{f"proc/sys/{key}": value for key, value in KERNEL.items()},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="la-") as folder:
        made = Path(folder)
        made.chmod(0o755)
        for name, content in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name in ("etc/sysctl.d", "etc/systemd/system", "var/lib", "usr/local/bin"):
            (made / name).mkdir(parents=True)
        subprocess.run(["systemctl", f"--root={made}", "--quiet", "enable", "haproxy.service"], check=True)
        yield made


def agent(*words: str | Path, expected: int = 0, python: str = sys.executable) -> str:
    """Run the command and return what it prints."""
    argv = [python, "-m", "lumos_agent.cli", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=PATHS)
    assert done.returncode == expected, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def photograph(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Return mode, owner and content of everything but the backups that useradd makes."""
    found = {}
    for path in sorted(root.rglob("*")):
        name, info = str(path.relative_to(root)), path.lstat()
        if name.endswith(("-", ".lock")):
            continue
        content = str(path.readlink()) if path.is_symlink() else path.read_text("latin-1") if path.is_file() else ""
        content = content if not name.startswith("proc/") else " ".join(content.split())
        found[name] = (info.st_mode, info.st_uid, info.st_gid, content)
    return found


def test_dry_run_says_everything_and_does_nothing(root: Path) -> None:
    before = photograph(root)
    text = agent("edge-setup", "--dry-run", "--root", root)
    for word in (
        "user lumos",
        "/var/lib/lumos",
        "lumos-agent.service",
        "haproxy.service",
        "knot.service",
        "90-lumos.conf",
        "somaxconn",
    ):
        assert word in text
    assert photograph(root) == before


def test_setup_does_it_all_and_undo_restores_exactly(root: Path) -> None:
    before = photograph(root)
    agent("edge-setup", "--root", root)
    row = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith("lumos:"))
    assert row.endswith(":/var/lib/lumos:/usr/sbin/nologin")
    state = (root / "var/lib/lumos").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (int(row.split(":")[2]), 0o700)
    assert f"{sys.prefix}/bin/lumos-agent" in (root / "etc/systemd/system/lumos-agent.service").read_text()
    assert (root / "usr/local/bin/lumos-agent").readlink() == Path(sys.prefix) / "bin/lumos-agent"
    assert not (root / "etc/systemd/system/multi-user.target.wants/haproxy.service").exists()
    assert "tcp_syncookies = 1" in (root / "etc/sysctl.d/90-lumos.conf").read_text()
    assert (root / "proc/sys/net/core/somaxconn").read_text() == "65535\n"
    assert not (root / "proc/sys/net/ipv4/tcp_fin_timeout").exists(), "a key that this kernel lacks"
    agent("edge-setup", "--root", root, "--undo")
    assert photograph(root) == before


def test_twice_and_half_way_still_remember_the_first_state(root: Path) -> None:
    (root / "etc/sysctl.d/90-lumos.conf").write_text("# mine\n")
    before = photograph(root)
    blocked = root / "etc/systemd/system"
    blocked.rename(root / "away")
    blocked.write_text("in the way")
    assert "mend that" in agent("edge-setup", "--root", root, expected=1)
    blocked.unlink()
    (root / "away").rename(blocked)
    agent("edge-setup", "--root", root)
    agent("edge-setup", "--root", root)
    agent("edge-setup", "--root", root, "--undo")
    assert photograph(root) == before


def test_another_program_of_the_same_name_is_left_alone(root: Path) -> None:
    (root / "usr/local/bin/lumos-agent").write_text("somebody's own")
    before = photograph(root)
    assert "another program" in agent("edge-setup", "--root", root)
    agent("edge-setup", "--root", root, "--undo")
    assert photograph(root) == before


def test_undo_keeps_what_the_agent_wrote_for_root_only(root: Path) -> None:
    agent("edge-setup", "--root", root)
    uid = (root / "var/lib/lumos").stat().st_uid
    token = root / "var/lib/lumos/token"
    token.write_text("lmst_x")
    os.chown(token, uid, uid)
    agent("edge-setup", "--root", root, "--undo")
    assert (token.stat().st_uid, token.parent.stat().st_mode & 0o777) == (0, 0o700)
    agent("edge-setup", "--root", root)
    assert token.stat().st_uid == token.parent.stat().st_uid != 0


def test_undo_without_setup_says_so_and_a_damaged_journal_stops_it(root: Path) -> None:
    before = photograph(root)
    assert "nothing to take back" in agent("edge-setup", "--root", root, "--undo")
    assert photograph(root) == before
    agent("edge-setup", "--root", root)
    (root / edge.JOURNAL.lstrip("/")).write_text("{")
    assert "nothing was changed" in agent("edge-setup", "--root", root, "--undo", expected=1)


def test_json_is_one_object_per_step(root: Path) -> None:
    lines = [json.loads(line) for line in agent("--json", "edge-setup", "--root", root).splitlines()]
    assert len(lines) == len(edge.plan("/", Path("/opt/lumos/agent")))
    assert {line["result"] for line in lines} == {"done"}


def test_ordinary_users_are_refused() -> None:
    code = "import os, sys; from lumos_agent.cli import main; os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, "edge-setup"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs root" in done.stderr


def test_commands_of_root_act_as_the_owner_of_the_state(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    code = (
        "import os, pathlib, sys; from lumos_agent.system.owner import act_as_owner_of as act; "
        "act(pathlib.Path(sys.argv[1])); print(os.getresuid(), os.getresgid(), os.getgroups())"
    )
    done = subprocess.run([sys.executable, "-c", code, state], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(65534, 65534, 65534) (65534, 65534, 65534) []"
