"""A machine to install things on: this one's files in a throw-away overlay, changed without a trace."""

import os
import shutil
import subprocess
from pathlib import Path

# /proc/sys is read-only there: the kernel is this machine's own.
_ENTER = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -o bind,ro "$1/root/proc/sys" "$1/root/proc/sys"
mount -o remount,bind,ro "$1/root/proc/sys"
exec chroot "$1/root" sh -euc "$2"
"""


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `script` as root on such a machine; `folder` is an empty directory to mount it on."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", _ENTER, "enter", folder, script],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": path, "LC_ALL": "C.UTF-8", **environment},
        timeout=110,
    )


def is_possible(folder: Path) -> bool:
    """Whether this user and this kernel can make one."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None and run("true", folder).returncode == 0
