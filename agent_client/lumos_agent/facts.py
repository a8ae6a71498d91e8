"""What the machine is and how it does."""

import os
import platform
import shutil
import time
from pathlib import Path

from lumos_agent import __version__, protocol
from lumos_agent.drivers.build import Build
from lumos_agent.errands import takes_errands

_FEATURES = ("QUIC", "LUA", "PCRE2_JIT", "OPENSSL", "PROMEX")


def facts(state_root: Path, build: Build, sealing_key: str, probe_port: int) -> protocol.Facts:
    """Return what does not change while the agent runs."""
    return protocol.Facts(
        agent_version=__version__,
        hostname=platform.node(),
        os=_os_name(),
        kernel=platform.release(),
        haproxy_version=build.version,
        haproxy_features=tuple(name for name in _FEATURES if name in build.features),
        cpu_count=os.cpu_count() or 0,
        memory_bytes=_memory()["MemTotal"],
        disk_bytes=shutil.disk_usage(state_root).total,
        clock=time.time(),
        sealing_key=sealing_key,
        probe_port=probe_port,
        takes_errands=takes_errands(),
    )


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _memory() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    pairs = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) * 1024 for fields in pairs}


def memory_percent() -> float:
    """Return the share of memory that is in use."""
    memory = _memory()
    return round(100.0 * (1 - memory["MemAvailable"] / memory["MemTotal"]), 1)


def disk_percent(path: Path) -> float:
    """Return the share of the state directory's disk that is in use."""
    usage = shutil.disk_usage(path)
    return round(100.0 * usage.used / usage.total, 1)


def own_memory_bytes() -> int:
    """Return the resident memory of this process (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class CpuMeter:
    """Share of the machine's CPU time that was busy between two looks."""

    def __init__(self) -> None:
        self._last = _cpu_times()

    def percent(self) -> float:
        """Return the share since the last call."""
        (idle, total), (idle_before, total_before) = _cpu_times(), self._last
        self._last = (idle, total)
        return round(100.0 * (1 - (idle - idle_before) / max(total - total_before, 1)), 1)


def _cpu_times() -> tuple[int, int]:
    fields = [int(f) for f in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)
