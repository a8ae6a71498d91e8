"""A host with files of its own, for what writes to /etc and /usr/local as root."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.network.hosts import Host

_LAYERS = """
set -eu
mount -t tmpfs tmpfs {folder}
for top in etc usr/local; do
  name=$(echo $top | tr / -)
  mkdir -p {folder}/$name/upper {folder}/$name/work
  mount -t overlay overlay -o lowerdir=/$top,upperdir={folder}/$name/upper,workdir={folder}/$name/work /$top
done
mkdir -p /run/wireguard
mount -t tmpfs tmpfs /run/wireguard
echo ready
exec sleep infinity
"""


_PRIVATE = ["unshare", "--mount", "--propagation", "private"]


def _can_have_own_files() -> bool:
    try:
        return subprocess.run([*_PRIVATE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_machine = pytest.mark.skipif(
    not _can_have_own_files(), reason="files of a host's own need root, and a root that is a mount (no chroot)"
)


class Machine:
    """Commands in the namespaces of a process that keeps changed files in memory; they end with the host's network."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        folder.mkdir()
        script = _LAYERS.format(folder=folder)
        argv = [*_PRIVATE, "sh", "-c", script]
        holder = host.start(*argv, stdout=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        self._inside = ["nsenter", f"--target={holder.pid}", "--mount", "--net"]

    def run(self, *argv: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, as `Host.run`."""
        return self.host.run(*self._inside, *argv, **options)

    def start(self, *argv: str | Path, **popen: Any) -> "subprocess.Popen[bytes]":
        """Start a command, as `Host.start`."""
        return self.host.start(*self._inside, *argv, **popen)
