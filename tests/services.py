"""pytest plugin: one private PostgreSQL and one private Redis for a run, shared by all xdist workers.

Loaded with `-p tests.services`, before Django reads its settings. LUMOS_TEST_SERVICES=external uses the services that
DATABASE_URL and REDIS_URL name; xdist workers inherit it from the controller.
"""

import atexit
import itertools
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 30.0

# Hundreds of processes start in a run: whatever a machine's images prefer, they shall not compile the same modules each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# Below the ports that the kernel gives to connections, so that nobody takes one between its choice and its use. Each
# worker of a run has every eighth, from somewhere on: neither workers nor runs beside each other meet.
_PORTS, _WORKERS = range(16_384, 32_768), 8


def _own_ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[worker % _WORKERS :: _WORKERS]
    begin = random.randrange(len(own))
    return itertools.cycle([*own[begin:], *own[:begin]])


_candidates = _own_ports()


def free_port() -> int:
    """Return a port that nobody listens on at this moment, another one each time."""
    return next(port for port in _candidates if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def postgres_bin() -> Path:
    """Return where the newest PostgreSQL of this machine has its programs."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not versions:
        raise RuntimeError("PostgreSQL is not installed; `make test` installs it")
    return versions[-1]


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"service did not start:\n{log.read_text()[-2000:]}")


def _start(argv: list[str], port: int, log: Path, user: str | None = None) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, user=user, start_new_session=True)
    _await_port(port, process, log)
    return process


def _start_postgres(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a cluster, durable only with LUMOS_TEST_DURABLE; as root it runs as `postgres`, because it refuses root."""
    user = "postgres" if os.geteuid() == 0 else None
    name = user or pwd.getpwuid(os.geteuid()).pw_name
    home = root / "postgres"
    home.mkdir()
    if user:
        shutil.chown(home, user)
    binaries, port = postgres_bin(), free_port()
    data = home / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "lumos", "--auth=trust", "-E", "UTF8", "--no-sync", "--locale=C"],
        check=True, capture_output=True, user=user, env={"USER": name, "PATH": os.environ["PATH"], "LC_ALL": "C"},
    )  # fmt: skip
    options = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]
    if os.environ.get("LUMOS_TEST_DURABLE"):
        options = []
    argv = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(home), "-h", "127.0.0.1", *options]
    process = _start(argv, port, root / "postgres.log", user)
    return process, f"postgresql://lumos@127.0.0.1:{port}/postgres"


def _start_redis(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(root)]
    return _start(argv, port, root / "redis.log"), f"redis://127.0.0.1:{port}/0"


def _stop(processes: list[subprocess.Popen[bytes]], root: Path) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)
    shutil.rmtree(root, ignore_errors=True)


def start() -> None:
    """Start both, export their URLs, and stop them when the run ends."""
    root = Path(tempfile.mkdtemp(prefix="lumos-test-"))
    root.chmod(0o755)
    redis, redis_url = _start_redis(root)
    postgres, database_url = _start_postgres(root)
    os.environ.update(DATABASE_URL=database_url, REDIS_URL=redis_url, LUMOS_TEST_SERVICES="external")
    atexit.register(_stop, [postgres, redis], root)


if os.environ.get("LUMOS_TEST_SERVICES") != "external":
    start()
