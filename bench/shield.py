"""A shield without a control plane, and plain HAProxies beside it, for benchmarks of requests."""

import subprocess
from pathlib import Path

from lumos_agent.apply import Applier
from lumos_agent.certificates import make_default_certificate
from lumos_agent.config import Settings, State
from lumos_agent.counters import parse_info
from lumos_agent.drivers import cli
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.options import options_of
from lumos_agent.protocol import Config
from lumos_agent.schema import Snapshot, digest_of
from lumos_agent.store import Store

ID = "00000000-0000-0000-0000-{:012d}"
DEFAULTS = "defaults\n  mode http\n  timeout connect 3s\n  timeout client 30s\n  timeout server 60s\n"
ORIGIN = "frontend o\n  bind 127.0.0.1:{port}\n  http-request return status 200 content-type text/html string {body}\n"


def start_plain(folder: Path, name: str, text: str) -> subprocess.Popen[bytes]:
    """Start an HAProxy with a hand-written configuration.

    In a session of its own, as the shield's is: the kernel shares the CPU between sessions (sched(7), autogroup).
    """
    path = folder / f"{name}.cfg"
    path.write_text(DEFAULTS + text)
    return subprocess.Popen(["haproxy", "-db", "-f", str(path)], stderr=subprocess.DEVNULL, start_new_session=True)


async def start_shield(folder: Path, port: int, snapshot: Snapshot) -> tuple[Haproxy, int]:
    """Apply a snapshot on a listener; returns the driver and the worker's pid."""
    state = State(folder / "a")
    state.create()
    state.save_settings(Settings(gateway_url="ws://127.0.0.1/", http=(f"127.0.0.1:{port}",), https=()))
    make_default_certificate(state.default_certificate)
    haproxy = Haproxy(state, (f"127.0.0.1:{port}",), ())
    applier = Applier(state, options_of(state), haproxy, Store(state.snapshot_file, "bench"))
    data = snapshot.encode()
    await applier.apply(Config(epoch="e", revision=1, digest=digest_of(data), snapshot=data))  # type: ignore[arg-type]
    info = parse_info(await cli.ask(state.worker_socket, ["show info"]))
    return haproxy, int(info["Pid"])
